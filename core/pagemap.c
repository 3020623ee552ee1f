// Writing the page map. The entry of a span's first page goes in last, so that whoever finds an
// entry at all finds the span's record behind it complete. Caller owns the pages.
#include "pagemap.h"

void sv_pagemap_set(uint32_t first, uint32_t npages, unsigned code)
{
    for (uint32_t i = npages; i-- > 0;) {
        sv_pagemap_entry e = code ? sv_pagemap_make(code, i) : 0;
        // release pairs with sv_pagemap_get
        __atomic_store_n(&sv_heap.pagemap[first + i], e, __ATOMIC_RELEASE);
    }
}
