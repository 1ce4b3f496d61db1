/* Shared by the files of deployment*.c only. */
#pragma once

#include "translate/deployment.h"

/* Port numbers of either colour in the container's ports and probes become this colour's; then none
 * of the other's may be left in its arguments and environment. */
must_check int deployment_ports(json_t *container, const struct deployment_goal *g,
                                struct err *err);
