/* PURE: the object of Kubernetes that sends requests to one colour, for the traffic drivers
 * `service` and `ingress`: which colour it means, and the one write that makes it mean another.
 *
 * Three forms: the EndpointSlice of a Service without a selector; the selector of a Service; the
 * backend of one path of an Ingress. Common keys are read from either colour's spec. */
#pragma once

#include "net/kube.h"
#include "spec/spec.h"

enum route_form { ROUTE_SLICE, ROUTE_SELECT, ROUTE_BACKEND };
enum route_form route_form(const struct spec *s);

/* The object that decides: its kind, and its name ("SERVICE-changeover" for a slice). */
const struct kube_kind *route_kind(const struct spec *s);
char *route_name(const struct spec *s);

struct route_look {
    bool fits;      /* it is there, in the form that can be pointed */
    bool unset;     /* nobody has said yet where it is to send: nobody is overruled */
    enum colour to; /* NONE: it means neither */
    char why[400];  /* if it does not fit or means neither; "" else */
};
/* service: the Service itself (NULL: there is none; not read for an Ingress). object: what decides
 * (NULL: there is none; for ROUTE_SELECT the Service again). */
void route_see(const struct spec *const side[COLOURS], json_t *service, json_t *object,
               struct route_look *ret);

/* ROUTE_SLICE: the whole EndpointSlice for the colour. ERR_USAGE: a port of the Service is none of
 * the spec's. *ret is the caller's. */
must_check int route_slice(const struct spec *side, json_t *service, json_t **ret, struct err *err);

/* The others: the change as a JSON patch whose `test` operations hold only for this very object as
 * it is. ERR_NOT_FOUND: an Ingress without that host and path. *ret is the caller's. */
must_check int route_patch(const struct spec *side, json_t *object, json_t **ret, struct err *err);

/* The part of an object that decides, for people: one line a fact. object may be NULL. */
void route_text(const struct spec *s, json_t *object, struct str *ret);

/* Who wrote the deciding part last, by the server's books: "kubectl-edit at 2026-..."; "" if that
 * was changeover, or nobody knows. */
void route_who(const struct spec *s, json_t *object, char *buf, size_t size);

/* A list of labels that the pods of the Service have when it means the colour: "a=b,c=d". */
void route_selector(json_t *service, const struct spec *side, struct str *ret);

/* The manifests that a user applies once, as YAML. */
void route_manifests(const struct spec *const side[COLOURS], struct str *ret);
