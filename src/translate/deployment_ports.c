/* Ports of a container: what is listed, probed and passed on moves together. */
#include "translate/deployment_internal.h"

#include "format/json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const struct spec_port *find(const struct spec *s, json_int_t port)
{
    for (size_t i = 0; s && i < s->ports_n; i++)
        if (port >= s->ports[i].first && port <= s->ports[i].last)
            return &s->ports[i];
    return NULL;
}

/* The same port of this colour: by name, and by its place in a range. */
static json_int_t ours(const struct deployment_goal *g, json_int_t port)
{
    const struct spec_port *theirs = find(g->other, port);
    const struct spec_port *mine = theirs ? spec_port(g->spec, theirs->name) : NULL;
    return mine ? mine->first + (port - theirs->first) : port;
}

/* A number, or a text that is one: `${port.rpc}` was. */
static void move(const struct deployment_goal *g, json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    json_int_t port = json_integer_value(value);
    if (text && *text && strspn(text, "0123456789") == strlen(text))
        port = (json_int_t)strtoll(text, NULL, 10);
    else if (!json_is_integer(value))
        return;
    json_object_set_new(object, key, json_integer(ours(g, port)));
}

static void move_probes(const struct deployment_goal *g, json_t *container)
{
    static const char *const probes[] = {"readinessProbe", "livenessProbe", "startupProbe"},
                             *const kinds[] = {"httpGet", "tcpSocket", "grpc"};
    for (size_t p = 0; p < ARRAY_LEN(probes); p++)
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            move(g, json_object_get(json_object_get(container, probes[p]), kinds[k]), "port");
}

/* The other colour's port that this text has as a number of its own, or NULL. */
static const struct spec_port *foreign(const struct deployment_goal *g, const char *text)
{
    while (*text) {
        char *end;
        if (!isdigit((unsigned char)*text)) {
            text += 1;
            continue;
        }
        unsigned long n = strtoul(text, &end, 10);
        const struct spec_port *p = n <= 65535 ? find(g->other, (json_int_t)n) : NULL;
        /* a part of a longer word or of a version is no port */
        if (p && !isalnum((unsigned char)*end) && *end != '.' && *end != '_')
            return p;
        text = end;
        while (isalnum((unsigned char)*text) || *text == '.' || *text == '_')
            text++;
    }
    return NULL;
}

static int refuse(const struct deployment_goal *g, const char *where, const char *what,
                  const struct spec_port *p, struct err *err)
{
    err_set(err, ERR_USAGE, "%s '%.100s' of %s's container has %s's port '%s' (%u)", where, what,
            colour_name(g->spec->colour), colour_name(colour_other(g->spec->colour)), p->name,
            p->first);
    return err_hint(err, "write ${port.%s} into the template, or the variable under runtime.env",
                    p->name);
}

static int none_left(json_t *container, const struct deployment_goal *g, struct err *err)
{
    static const char *const lists[] = {"command", "args"};
    size_t i;
    json_t *item;
    for (size_t l = 0; l < ARRAY_LEN(lists); l++)
        json_array_foreach(json_object_get(container, lists[l]), i, item)
        {
            const char *text = json_string_value(item);
            const struct spec_port *p = text ? foreign(g, text) : NULL;
            if (p)
                return refuse(g, "argument", text, p, err);
        }
    json_array_foreach(json_object_get(container, "env"), i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name")),
                   *value = json_string_value(json_object_get(item, "value"));
        const struct spec_port *p = value ? foreign(g, value) : NULL;
        if (p)
            return refuse(g, "variable", name ? name : "", p, err);
    }
    return 0;
}

int deployment_ports(json_t *container, const struct deployment_goal *g, struct err *err)
{
    size_t i;
    json_t *port;
    json_array_foreach(json_object_get(container, "ports"), i, port)
    {
        move(g, port, "containerPort");
        move(g, port, "hostPort");
    }
    move_probes(g, container);
    return none_left(container, g, err);
}
