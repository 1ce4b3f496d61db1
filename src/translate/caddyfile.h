/* The block of a Caddyfile that makes Caddy obey the flags of one service. Pure.
 *
 * The form is measured (docs/traffic.md): one handler a colour, which dials only its own colour;
 * the flag directory decides at each request; no readable flag answers 503. Written out in full,
 * without snippets and their arguments. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "spec/spec.h"

/* With `writes: client`, a request for a colour waits while there is the flag hold-COLOUR, until
 * there is open-COLOUR too: this path of the which-colour route answers "open", "held" or "free".
 */
#define CADDYFILE_OPEN_URI "/open-%s"

/* Appends the block, its begin and end markers included. version: the running Caddy's, "2.6.2".
 * ERR_UNSUPPORTED: this version cannot do what the spec asks (too old; 2.6.3 to 2.11.1: no `writes:
 * client`, no `when_unhealthy: fail`; below 2.11.2: no `retry`). ERR_USAGE: a value that cannot
 * stand in a Caddyfile. */
must_check int caddyfile_render(const struct spec *green, const struct spec *blue,
                                const char *version, struct str *ret, struct err *err);

/* Health checks a second that Caddy sends to each colour's HTTP port because of the block. */
int caddyfile_checks(const struct spec *s);

/* The upstream as the block writes it, which is how Caddy's admin API names it: "127.0.0.1:8899".
 * Websockets on the HTTP port have another text for the same address, so that each is counted
 * alone. "" if the spec has none. */
const char *caddyfile_dial(char *buf, size_t size, const struct spec *s, bool websocket);

/* `text` with the service's block replaced or put at the end (block NULL: taken out). With a block
 * that has health checks, their log lines are also excluded in the global options (made, or added
 * to, or left alone where those say something about logs already). ERR_USAGE: the markers are
 * damaged. */
must_check int caddyfile_put(const char *text, const char *service, const char *block,
                             struct str *ret, struct err *err);

/* The block as it stands in `text`, markers included; false if it is not there. */
bool caddyfile_find(const char *text, const char *service, struct str *ret);

/* Is a site served with TLS? ":8080" and "http://..." are not. */
bool caddyfile_site_tls(const struct spec *s, const char *site);
