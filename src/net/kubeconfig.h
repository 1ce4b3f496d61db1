/* Where a cluster is and who we are there: kubeconfig files as kubectl reads them, or the service
 * account of the pod that we run in.
 *
 * Read once: certificates and keys, also those in files of their own, are in memory afterwards and
 * never written anywhere. A token file and an exec plugin are asked when they are needed (kube.h).
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* A program that hands out credentials (client.authentication.k8s.io), run by argument vector. */
struct kubeconfig_exec {
    char *api;        /* its apiVersion */
    struct strv argv; /* argv[0] resolved against the kubeconfig's directory if it has a slash */
    struct strv env;  /* "NAME=value", beside ours */
    char *hint;       /* installHint, or NULL */
    bool provide_cluster;
};

struct kubeconfig {
    char *context;     /* its name, or "in-cluster" */
    char *where;       /* the file that the user stands in, for messages */
    char *server;      /* "https://host:6443/path", no slash at the end */
    char *server_name; /* name in the server's certificate, if it is not the host; else NULL */
    char *proxy;       /* "http://", "https://" or "socks5://" URL; NULL: as the environment says */
    char *ns;          /* namespace of what names none; never NULL */
    char *ca;          /* PEM; NULL: the system's authorities */
    bool insecure;     /* any certificate: only if the file says so, and names no authority */
    char *cert, *key;  /* PEM, both or none */
    char *token;       /* or NULL */
    char *token_file;  /* goes before the token; or NULL */
    char *as, *as_uid; /* impersonation, or NULL */
    struct strv as_groups;
    struct kubeconfig_exec exec; /* argv.n 0: none */
};

/* Where to look. All may be NULL. */
struct kubeconfig_from {
    const char *path; /* this file alone, and it must be there */
    const char *list; /* else these (KUBECONFIG, separated by ':'); missing ones are passed over */
    const char *home; /* else HOME/.kube/config */
    const char *context;                     /* else the current-context */
    const char *service_host, *service_port; /* no file at all: the pod's API server... */
    const char *account;                     /* ...and the directory of its token and ca.crt */
};

/* What the environment of this process says of them. */
struct kubeconfig_from kubeconfig_environment(const char *path, const char *context);

/* Several files are one, as kubectl merges them: of a cluster, user or context of the same name the
 * first file's counts whole, and so does the first current-context. ret must be zeroed. ERR_USAGE:
 * file, line and what is wrong; ERR_NOT_FOUND: nothing says where a cluster is. */
must_check int kubeconfig_load(const struct kubeconfig_from *from, struct kubeconfig *ret,
                               struct err *err);

void kubeconfig_done(struct kubeconfig *c);
#define cleanup_kubeconfig cleanup(kubeconfig_done)
