// What a program file is, as far as it decides whether a library can be preloaded into it.
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stddef.h>

enum image_kind { IMAGE_OTHER, IMAGE_ELF, IMAGE_SCRIPT };

struct image {
    enum image_kind kind;
    unsigned machine;  // ELF: EM_*
    bool narrow;       // ELF: 32 bits
    bool linker;       // ELF: it is a dynamic linker itself
    char interp[4096]; // the dynamic linker, or the script's interpreter; "": none
};

// Reads the beginning of the file; false: it can't be read (errno).
bool image_read(const char *path, struct image *image);

// Why the dynamic linker can't preload libsalvage.so into such a program, or NULL. `name` is how
// the line names it; the text stays until the next call.
const char *image_unfit(const struct image *image, const char *name);

#endif
