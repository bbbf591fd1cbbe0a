/*
 * What the config commands share.
 */
#ifndef TOOLS_PERDURECTL_CONFIG_H
#define TOOLS_PERDURECTL_CONFIG_H

#include "tools/perdurectl/ctl.h"

/* A text member; "" when it isn't there. Lives as long as v. */
const char *config_text(const json_t *v, const char *key);

#endif
