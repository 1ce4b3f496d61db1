/* Which version this binary plays. The version is not built in: tests copy one binary into two
 * folders and put small files next to it.
 *   VERSION            the version, one line ["3.1.11"]
 *   DEFAULT-ARGS       arguments put before those of the command line, one a line (a version with
 *                      a fault: --stall-after-slots ...)
 *   ARGUMENT-RULES     `-name` = this version no longer knows --name; `+name` = it requires it */
#ifndef RPCNODE_VERSION_H
#define RPCNODE_VERSION_H

#include <stdbool.h>
#include <stdint.h>

#define VERSION_FILE_MAX 4096

struct version {
    char text[VERSION_FILE_MAX];
    char arguments[VERSION_FILE_MAX];
    char rules[VERSION_FILE_MAX];
};

void version_load(struct version *v);
uint32_t version_feature_set(const char *text);
void version_print(const struct version *v);
bool version_removed_option(const struct version *v, const char *name);
bool version_required_option(const struct version *v, const char *name);
/* A new vector: argv[1..] with the DEFAULT-ARGS before it (pointing into *v). Free with free(). */
char **version_arguments(struct version *v, int argc, char **argv, int *ret_count);

#endif
