// The kernel's two ways to ask about pages through /proc/PID/pagemap: the PAGEMAP_SCAN ioctl of
// Linux 6.7's <linux/fs.h>, which the headers we build with need not have, and the entries of the
// file itself (Documentation/admin-guide/mm/pagemap.rst).
#ifndef SV_SCAN_H
#define SV_SCAN_H

#include <stdint.h>
#include <sys/ioctl.h>

struct scan_region {
    uint64_t start;      // kernel
    uint64_t end;        // kernel
    uint64_t categories; // kernel: of those asked for, which all its pages are
};

struct scan_arg {
    uint64_t size;  // caller, this and all but walk_end
    uint64_t flags; // SCAN_PROTECT, SCAN_REGISTERED
    uint64_t start;
    uint64_t end;
    uint64_t walk_end; // kernel: where it stopped
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
};

#define SCAN_CALL _IOWR('f', 16, struct scan_arg)

enum { SCAN_PROTECT = 1, SCAN_REGISTERED = 2 }; // of flags

enum { // of categories
    SCAN_WRITTEN = 1 << 1,
    SCAN_FILE = 1 << 2,
    SCAN_PRESENT = 1 << 3,
    SCAN_SWAPPED = 1 << 4,
    SCAN_ZERO = 1 << 5,
    SCAN_SOFTDIRTY = 1 << 7,
    SCAN_GUARD = 1 << 8 // Linux 6.15
};

// How many runs to ask for in [lo, hi), of whole pages. The kernel allocates room for as many: for
// 512 of them that takes it 0.8 us, as long as all the rest of a question about a few pages.
static inline uint64_t scan_room(uintptr_t lo, uintptr_t hi, uint64_t most)
{
    uint64_t pages = (hi - lo) / 4096;
    return pages < most ? pages : most;
}

// Of an entry of the file.
#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_SWAPPED (UINT64_C(1) << 62)
#define ENTRY_FILE (UINT64_C(1) << 61)
#define ENTRY_GUARD (UINT64_C(1) << 58)
#define ENTRY_SOFTDIRTY (UINT64_C(1) << 55)
#define ENTRY_USED (ENTRY_PRESENT | ENTRY_SWAPPED)

#endif
