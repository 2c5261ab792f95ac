/* What libseer_engine exports. Everything else in it is hidden. For C too. */
#pragma once

/* The archive's objects carry the mark as well. A shared library that takes them in and wants none of it in
 * its own interface is linked with -Wl,--exclude-libs,libseer_engine.a. */
#define SEER_API __attribute__((visibility("default")))
