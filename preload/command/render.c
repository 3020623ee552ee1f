// What the writers of the formats share: which sites count and in what order, sums, objects by
// site, and text that is fit for formats which insist on UTF-8.
#include "render.h"

#include <stdlib.h>
#include <string.h>

bool report_leaks(const struct report *r, const struct report_site *site)
{
    if (site->suppressed)
        return false;
    switch (site->raw->class) {
    case RAW_DIRECT:
    case RAW_INDIRECT:
        return true;
    case RAW_POSSIBLE:
        return r->possible;
    case RAW_ABANDONED:
        return r->abandoned;
    default:
        return false;
    }
}

static int site_compare(const void *a, const void *b, void *report)
{
    const struct report *r = report;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    const struct raw_site *x = r->sites[i].raw, *y = r->sites[j].raw;
    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return (i > j) - (i < j);
}

void report_order_sort(const struct report *r, size_t *order, size_t n)
{
    qsort_r(order, n, sizeof(*order), site_compare, (void *)(uintptr_t)r);
}

size_t *report_order(const struct report *r, size_t *n)
{
    size_t *order = room_new(r->nsites, sizeof(*order));
    *n = 0;
    for (size_t i = 0; i < r->nsites; i++) {
        if (report_leaks(r, &r->sites[i]))
            order[(*n)++] = i;
    }
    report_order_sort(r, order, *n);
    return order;
}

struct report_sums report_sum(const struct report *r)
{
    struct report_sums sums = {0};
    for (size_t i = 0; i < r->nsites; i++) {
        const struct report_site *site = &r->sites[i];
        const struct raw_site *raw = site->raw;
        struct report_site bare = {.raw = raw};
        if (report_leaks(r, site)) {
            sums.objects += raw->objects;
            sums.bytes += raw->bytes;
            sums.class_objects[raw->class] += raw->objects;
            sums.class_bytes[raw->class] += raw->bytes;
        } else if (raw->class == RAW_HIDDEN) {
            sums.hidden_objects += raw->objects;
            sums.hidden_bytes += raw->bytes;
        } else if (report_leaks(r, &bare)) {
            sums.suppressed_objects += raw->objects;
            sums.suppressed_bytes += raw->bytes;
        }
    }
    return sums;
}

// Sorted by counting: `site` is the first of n fields that lie `each` bytes apart.
static struct by_site by_site_make(size_t nsites, const size_t *site, size_t each, size_t n)
{
    struct by_site by = {room_new(nsites + 2, sizeof(size_t)), room_new(n, sizeof(size_t))};
    const char *field = (const char *)site;
    for (size_t i = 0; i < n; i++)
        by.from[*(const size_t *)(const void *)(field + i * each) + 2]++;
    for (size_t i = 2; i < nsites + 2; i++)
        by.from[i] += by.from[i - 1];
    for (size_t i = 0; i < n; i++)
        by.item[by.from[*(const size_t *)(const void *)(field + i * each) + 1]++] = i;
    return by;
}

struct by_site objects_by_site(const struct raw_record *r)
{
    return by_site_make(r->nsites, r->nobjects ? &r->objects->site : NULL, sizeof(*r->objects),
                        r->nobjects);
}

struct by_site growth_by_site(const struct raw_record *r)
{
    return by_site_make(r->nsites, r->ngrowth ? &r->growth->site : NULL, sizeof(*r->growth),
                        r->ngrowth);
}

void by_site_free(struct by_site *by)
{
    free(by->from);
    free(by->item);
}

// ---- frames ------------------------------------------------------------------------------------

static const char *frame_base(const struct frame *f)
{
    const char *slash = f->module ? strrchr(f->module, '/') : NULL;
    return slash ? slash + 1 : f->module;
}

bool frame_ours(const struct frame *f)
{
    const char *base = frame_base(f);
    return base && strcmp(base, "libsalvage.so") == 0;
}

bool frame_common(const struct frame *f)
{
    static const char *const libraries[] = {"libsalvage.so", "libc.so.", "libc-2.", "libstdc++.so.",
                                            "ld-linux",      "libgcc_s", "libc++",  "libgc.so."};
    const char *base = frame_base(f);
    for (size_t i = 0; base && i < sizeof(libraries) / sizeof(*libraries); i++) {
        if (strncmp(base, libraries[i], strlen(libraries[i])) == 0)
            return true;
    }
    return false;
}

// ---- UTF-8 -------------------------------------------------------------------------------------

// Bytes of the character that begins here; 0: none does.
static size_t character_length(const unsigned char *s, bool xml)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    if (n == 1)
        return !xml || s[0] >= 0x20 || s[0] == '\t' || s[0] == '\n' || s[0] == '\r';
    uint32_t c = n ? s[0] & (0x7fu >> n) : 0;
    for (size_t i = 1; i < n; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (n == 0 || c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    return xml && (c == 0xfffe || c == 0xffff) ? 0 : n;
}

const char *text_clean(struct text *room, const char *s, bool xml)
{
    const unsigned char *at = (const unsigned char *)s;
    size_t n;
    while (*at && (n = character_length(at, xml)))
        at += n;
    if (!*at)
        return s;
    room->n = 0;
    text_add(room, s, (size_t)(at - (const unsigned char *)s));
    for (; *at; at += n ? n : 1) {
        n = character_length(at, xml);
        if (n)
            text_add(room, (const char *)at, n);
        else
            text_add(room, "\xef\xbf\xbd", 3);
    }
    return room->s;
}
