/*
 * The version of bdwgc whose face this is. Programs compare the numbers with what GC_get_version()
 * answers, so they stay those of the library that Salvage replaces, not Salvage's own.
 */
#ifndef GC_VERSION_H
#define GC_VERSION_H

#ifndef GC_VERSION_MAJOR
#define GC_VERSION_MAJOR 8
#define GC_VERSION_MINOR 2
#define GC_VERSION_MICRO 2
#endif

#define GC_TMP_VERSION_MAJOR GC_VERSION_MAJOR
#define GC_TMP_VERSION_MINOR GC_VERSION_MINOR
#define GC_TMP_VERSION_MICRO GC_VERSION_MICRO

#endif
