// The mappings of this process: asked for one by one with the PROCMAP_QUERY ioctl where the kernel
// has it (Linux 6.11), else from the text of /proc/self/maps. Printing a file's path takes the
// kernel as long as all the rest of a line, and the ioctl does without: names are asked for only
// where they matter, once a file. Mappings without a file are a little quicker printed than asked
// for, so the last listing decides: with less than one file among eight mappings, it is the text.
//
// The text is read in large pieces into memory of our own and taken apart by hand, since neither
// stdio nor malloc may be used here. One block of pages holds the array and, behind it, the text
// buffer. When the array is full the block is replaced by one twice as large and the listing begins
// again from its start, because a listing that was made while we mapped and unmapped describes
// memory that is no longer so.
//
// Invariant: a result is complete and in order, or there is none. The file must end with a whole
// line, every line must parse, and the caller's own code and stack must be listed. Where the
// program maps while the listing is made, a mapping can grow backwards over what was listed
// already: what is listed first counts. The two ways differ in one entry: only the text shows
// [vsyscall].
#include "proc.h"
#include "scanners.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

// The kernel hands out at most a page of text a call; a line is longer only by an escaped path. A
// path of more than NAME_SIZE is more than the ioctl tells.
enum { TEXT_SIZE = 64 << 10, CAP_FIRST = 2048, NAME_SIZE = 4096 };

// From Linux 6.11's <linux/fs.h>, which the headers we build with need not have.
struct query {
    uint64_t size;       // in: of this
    uint64_t want;       // in: QUERY_OR_NEXT
    uint64_t addr;       // in
    uint64_t lo;         // out
    uint64_t hi;         // out
    uint64_t protection; // out: QUERY_READ..QUERY_SHARED
    uint64_t page_size;  // out
    uint64_t offset;     // out
    uint64_t inode;      // out: 0: no file
    uint32_t major;      // out
    uint32_t minor;      // out
    uint32_t name_size;  // in: room; out: the name's length with its zero byte, 0: none
    uint32_t id_size;
    uint64_t name; // in: where it shall stand
    uint64_t id;
};

#define QUERY_CALL _IOWR('f', 17, struct query)

enum { QUERY_READ = 1, QUERY_WRITE = 2, QUERY_EXEC = 4, QUERY_SHARED = 8, QUERY_OR_NEXT = 16 };

enum { FILES = 64 }; // of which the name's meaning is remembered

static size_t block_size(size_t cap)
{
    return cap * sizeof(struct sv_mapping) + TEXT_SIZE;
}

// ---- one line -----------------------------------------------------------------------------------

// What is left of a line.
struct text {
    const char *at, *end;
};

static bool hex_take(struct text *t, char after, uintptr_t *value)
{
    uintptr_t v = 0;
    const char *start = t->at;
    for (; t->at < t->end; t->at++) {
        char c = *t->at;
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else
            break;
        v = v << 4 | digit;
    }
    if (t->at == start || t->at - start > 16 || t->at == t->end || *t->at != after)
        return false;
    t->at++;
    *value = v;
    return true;
}

static bool name_begins(const struct text *t, const char *prefix)
{
    const char *p = t->at;
    for (; *prefix; prefix++, p++)
        if (p == t->end || *p != *prefix)
            return false;
    return true;
}

// Files whose pages can be registers of a device, by name: everything of /dev but the shared memory
// that lives there, the PCI resources in sysfs and procfs, and the drivers that hand out mappings
// through nameless files. io_uring's rings are nameless files too, but memory, and hold user_data.
static bool name_is_device(const struct text *t)
{
    if (name_begins(t, "/dev/"))
        return !name_begins(t, "/dev/shm/") && !name_begins(t, "/dev/zero") &&
               !name_begins(t, "/dev/hugepages/");
    return name_begins(t, "/sys/") || name_begins(t, "/proc/") || name_begins(t, "/dmabuf:") ||
           name_begins(t, "anon_inode:dmabuf") || name_begins(t, "anon_inode:[vfio");
}

static bool name_is_anonymous(const struct text *t)
{
    return name_begins(t, "/dev/zero") || name_begins(t, "[anon_shmem:") ||
           name_begins(t, "/SYSV") || name_begins(t, "/memfd:") || name_begins(t, "/anon_hugepage");
}

// The name is not looked at for more than the kinds below: it may hold any byte but a newline, and
// a file that is called [stack] still has an inode.
static uint32_t name_flags(const struct text *name, bool file, bool shared)
{
    if (name->at == name->end)
        return 0;
    if (file) {
        uint32_t flags = name_is_device(name) ? SV_MAP_DEVICE : 0;
        return shared && name_is_anonymous(name) ? flags | SV_MAP_ANON : flags;
    }
    if (name_begins(name, "[stack]"))
        return SV_MAP_STACK;
    if (name_begins(name, "[heap]"))
        return SV_MAP_BRK;
    if (name_begins(name, "[v") || name_begins(name, "[uprobes]"))
        return SV_MAP_KERNEL;
    return 0;
}

static bool protection_take(struct text *t, uint32_t *flags)
{
    const char *p = t->at;
    if (t->end - p < 5 || p[4] != ' ')
        return false;
    if ((p[0] != 'r' && p[0] != '-') || (p[1] != 'w' && p[1] != '-') ||
        (p[2] != 'x' && p[2] != '-') || (p[3] != 's' && p[3] != 'p'))
        return false;
    *flags = (p[0] == 'r' ? SV_MAP_READ : 0) | (p[1] == 'w' ? SV_MAP_WRITE : 0) |
             (p[2] == 'x' ? SV_MAP_EXEC : 0) | (p[3] == 's' ? SV_MAP_SHARED : 0);
    t->at += 5;
    return true;
}

// "lo-hi rwxp offset major:minor inode   name" (proc(5)); the inode is decimal, and only compared
// with zero. Lines without a name may end in spaces.
static bool line_parse(struct text t, struct sv_mapping *m)
{
    uintptr_t unused;
    if (!hex_take(&t, '-', &m->lo) || !hex_take(&t, ' ', &m->hi) || !protection_take(&t, &m->flags))
        return false;
    if (!hex_take(&t, ' ', &unused) || !hex_take(&t, ':', &unused) || !hex_take(&t, ' ', &unused))
        return false;
    const char *digits = t.at;
    bool file = false;
    for (; t.at < t.end && *t.at >= '0' && *t.at <= '9'; t.at++)
        file |= *t.at != '0';
    if (t.at == digits)
        return false;
    while (t.at < t.end && *t.at == ' ')
        t.at++;
    if (file)
        m->flags |= SV_MAP_FILE;
    m->flags |= name_flags(&t, file, m->flags & SV_MAP_SHARED);
    return m->lo < m->hi;
}

// ---- the file -----------------------------------------------------------------------------------

// Takes a mapping into the listing, less what is listed already.
static int mapping_add(struct sv_maps *maps, struct sv_mapping m)
{
    uintptr_t end = maps->n ? maps->v[maps->n - 1].hi : 0;
    if (maps->n == maps->cap)
        return -ENOSPC;
    m.lo = m.lo > end ? m.lo : end;
    if (m.lo < m.hi)
        maps->v[maps->n++] = m;
    maps->nfiles += (m.flags & SV_MAP_FILE) != 0;
    return 0;
}

// Adds the whole lines of text[0..n). Returns how many bytes they were, or -ENOSPC when the array
// is full, or -EBADMSG.
static long lines_add(struct sv_maps *maps, const char *text, size_t n)
{
    size_t line = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '\n')
            continue;
        struct sv_mapping m;
        if (!line_parse((struct text){text + line, text + i}, &m))
            return -EBADMSG;
        if (mapping_add(maps, m) != 0)
            return -ENOSPC;
        line = i + 1;
    }
    return (long)line;
}

static int file_read(struct sv_maps *maps, int fd)
{
    char *text = (char *)(maps->v + maps->cap);
    size_t held = 0;
    maps->n = maps->nfiles = 0;
    for (;;) {
        if (held == TEXT_SIZE)
            return -EBADMSG;
        long got = sv_proc_read(fd, text + held, TEXT_SIZE - held);
        if (got < 0)
            return (int)got;
        if (got == 0)
            return held == 0 ? 0 : -EBADMSG;
        held += (size_t)got;
        long used = lines_add(maps, text, held);
        if (used < 0)
            return (int)used;
        held -= (size_t)used;
        for (size_t i = 0; i < held; i++)
            text[i] = text[(size_t)used + i];
    }
}

// ---- the ioctl ----------------------------------------------------------------------------------

// What a file's name means, by file: the segments of a library follow one another.
struct file {
    uint64_t inode, device;
    uint32_t flags;
    bool shared;
};

struct asker {
    int fd;
    char *name; // NAME_SIZE bytes
    struct file files[FILES];
};

// The mapping at or behind `addr`. -ENOENT: none.
static int query_ask(const struct asker *a, uintptr_t addr, bool name, struct query *q)
{
    *q = (struct query){.size = sizeof *q, .want = QUERY_OR_NEXT, .addr = addr};
    if (name) {
        q->name_size = NAME_SIZE;
        q->name = (uintptr_t)a->name;
    }
    return (int)sv_proc_ioctl(a->fd, QUERY_CALL, q);
}

static struct file *file_place(struct asker *a, const struct query *q)
{
    return &a->files[(q->inode ^ q->inode >> 6) % FILES];
}

static bool file_known(struct asker *a, const struct query *q, uint32_t *flags)
{
    const struct file *f = file_place(a, q);
    *flags = f->flags;
    return f->inode == q->inode && f->device == ((uint64_t)q->major << 32 | q->minor) &&
           f->shared == ((q->protection & QUERY_SHARED) != 0);
}

// What the name that came with `q` means. It is remembered for files that have a path; all the
// kernel's nameless files share an inode.
static uint32_t name_judge(struct asker *a, const struct query *q)
{
    if (q->name_size == 0)
        return 0;
    struct text name = {a->name, a->name + q->name_size - 1};
    bool shared = q->protection & QUERY_SHARED;
    uint32_t flags = name_flags(&name, q->inode != 0, shared);
    if (q->inode != 0 && name_begins(&name, "/"))
        *file_place(a, q) =
            (struct file){q->inode, (uint64_t)q->major << 32 | q->minor, flags, shared};
    return flags;
}

// The mapping at or behind `addr`. Whether the name comes at once is a guess, `named`, since it is
// cheap to have where there is no file, and the next mapping is mostly of the same kind.
static int query_mapping(struct asker *a, uintptr_t addr, bool *named, struct sv_mapping *m)
{
    struct query q;
    uint32_t flags = 0;
    int err = query_ask(a, addr, *named, &q);
    if (err == 0 && !*named && (q.inode == 0 || !file_known(a, &q, &flags))) {
        *named = true;
        err = query_ask(a, addr, true, &q);
    }
    if (err != 0)
        return err;
    if (*named)
        flags = name_judge(a, &q);
    *named = q.inode == 0;
    m->lo = q.lo;
    m->hi = q.hi;
    m->flags = flags | (q.protection & QUERY_READ ? SV_MAP_READ : 0) |
               (q.protection & QUERY_WRITE ? SV_MAP_WRITE : 0) |
               (q.protection & QUERY_EXEC ? SV_MAP_EXEC : 0) |
               (q.protection & QUERY_SHARED ? SV_MAP_SHARED : 0) | (q.inode ? SV_MAP_FILE : 0);
    return 0;
}

// Ranges that need not be listed, ascending.
struct skips {
    const struct sv_mapping *v;
    size_t n;
};

static uintptr_t skips_pass(struct skips *skips, uintptr_t addr)
{
    for (; skips->n && skips->v->lo <= addr; skips->v++, skips->n--)
        addr = skips->v->hi > addr ? skips->v->hi : addr;
    return addr;
}

static int queries_read(struct sv_maps *maps, int fd, struct skips skips)
{
    struct asker a = {.fd = fd, .name = (char *)(maps->v + maps->cap)};
    bool named = false;
    uintptr_t addr = 0;
    struct sv_mapping m;
    int err;
    maps->n = maps->nfiles = 0;
    while ((err = query_mapping(&a, addr, &named, &m)) == 0) {
        err = mapping_add(maps, m);
        if (err != 0)
            return err;
        addr = skips_pass(&skips, m.hi);
    }
    return err == -ENOENT && maps->n > 0 ? 0 : err == -ENOENT ? -EBADMSG : err;
}

// ---- the face -----------------------------------------------------------------------------------

static int block_grow(struct sv_maps *maps)
{
    size_t cap = maps->cap ? maps->cap * 2 : CAP_FIRST;
    struct sv_mapping *v = sv_proc_map(block_size(cap));
    if (!v)
        return -ENOMEM;
    sv_maps_free(maps);
    maps->v = v;
    maps->cap = cap;
    return 0;
}

static int listing_read(struct sv_maps *maps, int fd, struct skips skips)
{
    bool ask = maps->n == 0 || maps->nfiles > maps->n / 8 || skips.n > 0;
    int err = maps->v ? 0 : block_grow(maps);
    while (err == 0) {
        err = ask ? queries_read(maps, fd, skips) : -ENOTTY;
        if (err != 0 && err != -ENOSPC) // no such call, or not all that it would have to tell
            err = file_read(maps, fd);
        if (err != -ENOSPC)
            return err;
        err = block_grow(maps);
        if (err == 0)
            err = (int)sv_proc_rewind(fd);
    }
    return err;
}

// From one thread at a time for one `maps`. While the program runs, what it maps meanwhile may be
// missing and what it unmaps may be listed.
int sv_maps_read(struct sv_maps *maps, int procfd)
{
    return sv_maps_read_but(maps, procfd, NULL, 0);
}

int sv_maps_read_but(struct sv_maps *maps, int procfd, const struct sv_mapping *skip, size_t nskip)
{
    char here;
    int fd = sv_proc_file(procfd, "thread-self/maps", O_RDONLY);
    if (fd < 0) {
        maps->n = 0;
        return fd;
    }
    int err = listing_read(maps, fd, (struct skips){skip, nskip});
    sv_proc_close(fd);
    if (err == 0 &&
        (!sv_maps_find(maps, (uintptr_t)&here) || !sv_maps_find(maps, (uintptr_t)sv_maps_read) ||
         !sv_maps_find(maps, (uintptr_t)maps->v)))
        err = -EBADMSG;
    if (err != 0)
        maps->n = 0;
    return err;
}

void sv_maps_free(struct sv_maps *maps)
{
    if (maps->v)
        sv_proc_unmap(maps->v, block_size(maps->cap));
    *maps = (struct sv_maps){0};
}

struct sv_mapping sv_maps_own(const struct sv_maps *maps)
{
    uintptr_t lo = (uintptr_t)maps->v;
    return (struct sv_mapping){lo, maps->v ? lo + block_size(maps->cap) : lo, 0};
}

const struct sv_mapping *sv_maps_find(const struct sv_maps *maps, uintptr_t addr)
{
    size_t lo = 0, hi = maps->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (maps->v[mid].hi <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < maps->n && maps->v[lo].lo <= addr ? &maps->v[lo] : NULL;
}
