/* Marks the symbols that libseer_engine exports; all others are hidden. C can include this header too. */
#pragma once

/* The objects of the static library carry the mark as well. If you link them into a shared library that must
 * not export them itself, link it with -Wl,--exclude-libs,libseer_engine.a. */
#define SEER_API __attribute__((visibility("default")))
