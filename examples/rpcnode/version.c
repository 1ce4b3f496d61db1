/* See version.h. The three texts are read once and kept for the life of the process. */
#include "version.h"

#include "util.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_VERSION "3.1.11"

static void read_neighbour(int dir, const char *name, char text[VERSION_FILE_MAX])
{
    if (read_text(dir, name, text, VERSION_FILE_MAX) < 0)
        text[0] = '\0';
}

void version_load(struct version *v)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash = NULL;
    if (n > 0) {
        path[n] = '\0';
        slash = strrchr(path, '/');
    }
    if (slash != NULL) {
        slash[1] = '\0';
        int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir >= 0) {
            read_neighbour(dir, "VERSION", v->text);
            read_neighbour(dir, "DEFAULT-ARGS", v->arguments);
            read_neighbour(dir, "ARGUMENT-RULES", v->rules);
            close(dir);
        }
    }
    v->text[strcspn(v->text, " \t\r\n")] = '\0';
    if (v->text[0] == '\0')
        memcpy(v->text, DEFAULT_VERSION, sizeof(DEFAULT_VERSION));
}

uint32_t version_feature_set(const char *text)
{
    return (uint32_t)hash_bytes(text, strlen(text), 0);
}

void version_print(const struct version *v)
{
    printf("rpcnode %s (src:00000000; feat:%u, client:Agave)\n", v->text,
           version_feature_set(v->text));
}

static bool has_rule(const struct version *v, char sign, const char *name)
{
    size_t length = strlen(name);
    const char *p = v->rules;
    while (*p != '\0') {
        size_t n = strcspn(p, "\r\n");
        if (n == length + 1 && p[0] == sign && memcmp(p + 1, name, length) == 0)
            return true;
        p += n;
        p += strspn(p, "\r\n");
    }
    return false;
}

bool version_removed_option(const struct version *v, const char *name)
{
    return has_rule(v, '-', name);
}

bool version_required_option(const struct version *v, const char *name)
{
    return has_rule(v, '+', name);
}

char **version_arguments(struct version *v, int argc, char **argv, int *ret_count)
{
    size_t lines = 1;
    for (const char *p = v->arguments; *p != '\0'; p++)
        lines += *p == '\n';
    char **all = calloc(lines + (size_t)argc + 1, sizeof(char *));
    int n = 0;
    if (all == NULL)
        exit(101);
    char *save = NULL;
    char *line = strtok_r(v->arguments, "\r\n", &save);
    for (; line != NULL; line = strtok_r(NULL, "\r\n", &save))
        all[n++] = line;
    for (int i = 1; i < argc; i++)
        all[n++] = argv[i];
    *ret_count = n;
    return all;
}
