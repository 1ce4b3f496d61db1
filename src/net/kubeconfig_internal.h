/* Shared by kubeconfig*.c only. */
#pragma once

#include "format/yaml.h"
#include "net/kubeconfig.h"

struct kubeconfig_file {
    const char *path, *dir; /* dir: what relative paths in it count from */
    const struct yaml_node *root;
};

/* A cluster, user or context, and the file it stands in. node may be of any kind, not NULL. */
struct kubeconfig_entry {
    const struct kubeconfig_file *file;
    const struct yaml_node *node;
};

/* Fills err with file:line:column before the words. Returns -1. */
int kubeconfig_wrong(const struct kubeconfig_file *f, const struct yaml_node *at, struct err *err,
                     const char *fmt, ...) printf_like(4, 5);

/* The text of a key: NULL if it is not there or empty. Anything but a text is an error. */
must_check int kubeconfig_text(const struct kubeconfig_entry *e, const char *key, const char **ret,
                               struct err *err);
must_check int kubeconfig_copy(const struct kubeconfig_entry *e, const char *key, char **ret,
                               struct err *err);
must_check int kubeconfig_bool(const struct kubeconfig_entry *e, const char *key, bool *ret,
                               struct err *err);

/* `path` as the file means it; the caller's. */
char *kubeconfig_path(const struct kubeconfig_file *f, const char *path);

/* PEM given inline (base64 in KEY-data) or as a file (KEY); inline goes first. NULL: neither. */
must_check int kubeconfig_pem(const struct kubeconfig_entry *e, const char *key, char **ret,
                              struct err *err);

/* Everything that a user entry says. */
must_check int kubeconfig_user(const struct kubeconfig_entry *e, struct kubeconfig *ret,
                               struct err *err);

/* No line end, no other control byte: it goes into a header or a URL. */
bool kubeconfig_clean(const char *text);
