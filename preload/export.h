// The mark of a name that the program may bind to. Everything else of the library is hidden
// (-fvisibility=hidden), so that no internal name can displace one of the program's.
#ifndef SV_EXPORT_H
#define SV_EXPORT_H

#define SV_EXPORT __attribute__((visibility("default")))

// gcc wants an alias to have its target's attributes; clang has no word for that, and no wish.
#if __has_attribute(copy)
#define SV_EXPORT_LIKE(name) copy(name),
#else
#define SV_EXPORT_LIKE(name)
#endif

// Another name of a function of the same file, which glibc has for it too: SV_EXPORT_ALIAS(its
// declaration, the function).
#define SV_EXPORT_ALIAS(declaration, name)                                                         \
    SV_EXPORT declaration __attribute__((SV_EXPORT_LIKE(name) alias(#name)))

#endif
