/*
 * The version of this build, from meson.build.
 */
#ifndef COMMON_DAEMON_VERSION_H
#define COMMON_DAEMON_VERSION_H

extern const char perdure_version[];

#endif
