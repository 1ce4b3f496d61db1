/* Which file of the source has which name in the clone: for files with more than one name. */
#pragma once

#include "sys/tree.h"

#include <stdbool.h>
#include <stdint.h>

struct links;
struct links *links_new(void);
void links_free(struct links *l);

/* Asks for the file (dev, ino of the source). NULL: the caller is the first, clones it, and calls
 * links_settle(). Else the path in the clone to link to (the caller frees it); waits while another
 * thread is at it. */
char *links_claim(struct links *l, const struct sys_node *file);

/* path: where it is now; NULL: it did not come about, the next one begins again. */
void links_settle(struct links *l, const struct sys_node *file, const char *path);
