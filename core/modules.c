// /proc/self/maps tells what is mapped, whoever loaded it, without a lock of the dynamic linker's,
// which a thread that is gone may have held. A module is the run of mappings of one file of which
// the first begins with an ELF header and one can be executed. Header and build-id are read through
// /proc/self/mem: they may be unmapped at any moment.
//
// When a module came is known only as after the look before the one that saw it, and when it went
// as before the look that missed it: so FROM is the earliest time that it can have come at, and TO
// the latest that it can have gone at. The lists only grow.
#include "modules.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>

#include "lock.h"
#include "metadata.h"
#include "os.h"
#include "profile.h"
#include "scanners.h"

#define HW_PAGE ((uintptr_t)4096)
#define PHDRS_MAX 64u
#define ID_MAX 64u
#define MODULES_MAX 8192u // remembered; what comes later is not
#define STILL UINT32_MAX

struct module {
    struct module *next;
    uintptr_t start, end; // const: addresses, from its first mapping of the file to its last
    uintptr_t top;        // const: where its memory ends, what isn't of the file included
    uintptr_t bias;       // const: address less this is the file's
    uint32_t from;        // const: tenths of a second
    uint32_t to;          // lock: likewise; STILL
    uint32_t look;        // lock: the last look that saw it
    uint8_t nid;          // const: bytes of the build-id, 0: none
    uint8_t id[ID_MAX];   // const
    size_t npath;         // const
    char path[];          // const
};

struct line { // of maps
    uintptr_t lo, hi, offset;
    bool exec;
    const char *path;
    size_t npath;
};

static struct {
    struct sv_lock lock;   // leaf but for metadata's
    struct module *first;  // lock: youngest first
    uint32_t n;            // lock
    uint32_t look;         // lock: counts looks
    uint32_t last;         // lock: when the last one was, tenths of a second
    int mem;               // lock: /proc/self/mem, during a look
    uintptr_t start;       // lock: a run of one file's mappings: its start
    uintptr_t end;         // lock: and end so far
    bool exec;             // lock: one of them can be executed
    char path[4096];       // lock: its name
    size_t npath;          // lock
    char buffer[16 << 10]; // lock: text of maps
} modules;

// ---- what a file's header says ------------------------------------------------------------------

static bool memory_read(uintptr_t at, void *to, size_t bytes)
{
    return sv_os_seek(modules.mem, (long)at) == (long)at &&
           sv_os_read(modules.mem, to, bytes) == (long)bytes;
}

// Looks for the build-id among the notes at `at`.
static void notes_read(struct module *m, uintptr_t at, size_t bytes)
{
    uint8_t notes[1024];
    bytes = bytes < sizeof notes ? bytes : sizeof notes;
    if (!memory_read(at, notes, bytes))
        return;
    for (size_t i = 0; i + sizeof(Elf64_Nhdr) <= bytes;) {
        Elf64_Nhdr note;
        memcpy(&note, notes + i, sizeof note);
        size_t name = i + sizeof note, desc = name + ((note.n_namesz + 3) & ~3u);
        i = desc + ((note.n_descsz + 3) & ~3u);
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && i <= bytes &&
            memcmp(notes + name, "GNU", 4) == 0 && note.n_descsz <= ID_MAX) {
            m->nid = (uint8_t)note.n_descsz;
            memcpy(m->id, notes + desc, note.n_descsz);
            return;
        }
    }
}

// False: it is no ELF file.
static bool header_read(struct module *m)
{
    Elf64_Ehdr header;
    Elf64_Phdr phdr[PHDRS_MAX];
    uintptr_t low = UINTPTR_MAX, high = 0;
    if (!memory_read(m->start, &header, sizeof header) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phnum > PHDRS_MAX ||
        !memory_read(m->start + header.e_phoff, phdr, header.e_phnum * sizeof *phdr))
        return false;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        uintptr_t end = phdr[i].p_vaddr + phdr[i].p_memsz;
        if (phdr[i].p_type == PT_LOAD && phdr[i].p_vaddr < low)
            low = phdr[i].p_vaddr;
        if (phdr[i].p_type == PT_LOAD && end > high)
            high = end;
    }
    if (low >= high)
        return false;
    m->bias = m->start - (low & ~(HW_PAGE - 1));
    m->top = (m->bias + high + HW_PAGE - 1) & ~(HW_PAGE - 1);
    for (unsigned i = 0; i < header.e_phnum && m->nid == 0; i++)
        if (phdr[i].p_type == PT_NOTE)
            notes_read(m, m->bias + phdr[i].p_vaddr, phdr[i].p_memsz);
    return true;
}

// ---- the list; lock held ------------------------------------------------------------------------

static struct module *module_find(void)
{
    for (struct module *m = modules.first; m; m = m->next)
        if (m->to == STILL && m->start == modules.start && m->end == modules.end &&
            m->npath == modules.npath && memcmp(m->path, modules.path, m->npath) == 0)
            return m;
    return NULL;
}

static void module_add(void)
{
    size_t bytes = sizeof(struct module) + modules.npath;
    struct module *m = modules.n < MODULES_MAX ? sv_metadata_alloc(bytes) : NULL;
    if (!m)
        return;
    *m = (struct module){.start = modules.start,
                         .end = modules.end,
                         .from = modules.last,
                         .to = STILL,
                         .look = modules.look,
                         .npath = modules.npath};
    memcpy(m->path, modules.path, modules.npath);
    if (!header_read(m)) {
        sv_metadata_free(m, bytes);
        return;
    }
    m->next = modules.first;
    __atomic_store_n(&modules.first, m, __ATOMIC_RELEASE); // whole, for who reads without the lock
    modules.n++;
}

// A run of mappings of one file is over.
static void run_end(void)
{
    struct module *m = modules.exec ? module_find() : NULL;
    if (m)
        m->look = modules.look;
    else if (modules.exec)
        module_add();
    modules.npath = 0;
    modules.exec = false;
}

static void line_take(const struct line *l)
{
    static const char deleted[] = " (deleted)";
    size_t n = l->npath, tail = sizeof deleted - 1;
    if (n > tail && memcmp(l->path + n - tail, deleted, tail) == 0)
        n -= tail;
    bool same = n && n == modules.npath && memcmp(l->path, modules.path, n) == 0;
    if (!same || l->offset == 0)
        run_end();
    if (n && l->offset == 0 && (l->path[0] == '/' || memcmp(l->path, "[vdso]", n) == 0) &&
        n <= sizeof modules.path) {
        memcpy(modules.path, l->path, n);
        modules.npath = n;
        modules.start = l->lo;
        same = true;
    }
    if (same) {
        modules.end = l->hi;
        modules.exec |= l->exec;
    }
}

// ---- maps ---------------------------------------------------------------------------------------

static uintptr_t hex_parse(const char **p)
{
    uintptr_t v = 0;
    for (;; ++*p) {
        char c = **p;
        if (c >= '0' && c <= '9')
            v = v * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v * 16 + (uintptr_t)(c - 'a' + 10);
        else
            return v;
    }
}

// lo-hi perms offset dev inode path, as far as `end`, where a newline stands.
static void line_parse(const char *p, const char *end)
{
    struct line l = {.lo = hex_parse(&p)};
    p++;
    l.hi = hex_parse(&p);
    p++;
    l.exec = p[2] == 'x';
    p += 5;
    l.offset = hex_parse(&p);
    for (unsigned spaces = 0; p < end && spaces < 2;) // over device and inode
        spaces += *++p == ' ';
    while (p < end && *p == ' ')
        p++;
    l.path = p;
    l.npath = (size_t)(end - p);
    line_take(&l);
}

static bool maps_parse(int fd)
{
    size_t have = 0;
    long n;
    while ((n = sv_os_read(fd, modules.buffer + have, sizeof modules.buffer - have)) > 0) {
        have += (size_t)n;
        char *line = modules.buffer, *end;
        while ((end = memchr(line, '\n', have - (size_t)(line - modules.buffer)))) {
            line_parse(line, end);
            line = end + 1;
        }
        have -= (size_t)(line - modules.buffer);
        memmove(modules.buffer, line, have);
    }
    run_end();
    return n == 0;
}

void sv_modules_look(int procfd)
{
    sv_lock_acquire(&modules.lock);
    int maps = sv_proc_file(procfd, "self/maps", O_RDONLY);
    modules.mem = sv_proc_file(procfd, "self/mem", O_RDONLY);
    uint32_t now = sv_profile_now();
    modules.look++;
    if (maps >= 0 && maps_parse(maps)) {
        for (struct module *m = modules.first; m; m = m->next)
            if (m->to == STILL && m->look != modules.look)
                __atomic_store_n(&m->to, now, __ATOMIC_RELAXED);
        modules.last = now;
    }
    if (maps >= 0)
        sv_os_close(maps);
    if (modules.mem >= 0)
        sv_os_close(modules.mem);
    sv_lock_release(&modules.lock);
}

void sv_modules_fork_child(void)
{
    sv_lock_reset(&modules.lock);
    modules.npath = 0;
    modules.exec = false;
}

// ---- the record ---------------------------------------------------------------------------------

static void module_put(struct sv_record *r, const struct module *m)
{
    static const char hex[] = "0123456789abcdef";
    sv_record_put(r, "module %p %p %p ", (void *)m->start, (void *)m->top, (void *)m->bias);
    sv_record_seconds(r, m->from);
    sv_record_put(r, " ");
    uint32_t to = __atomic_load_n(&m->to, __ATOMIC_RELAXED);
    if (to == STILL)
        sv_record_put(r, "-");
    else
        sv_record_seconds(r, to);
    sv_record_put(r, m->nid ? " " : " -");
    for (unsigned i = 0; i < m->nid; i++)
        sv_record_put(r, "%c%c", hex[m->id[i] >> 4], hex[m->id[i] & 15]);
    sv_record_put(r, " ");
    sv_record_word(r, m->path, m->npath);
    sv_record_put(r, "\n");
}

// The list only grows, and nothing of a module changes but `to`: writing, which may take its time,
// needs no lock.
void sv_modules_put(struct sv_record *r)
{
    const struct module *m = __atomic_load_n(&modules.first, __ATOMIC_ACQUIRE);
    for (; m; m = m->next)
        module_put(r, m);
}

bool sv_modules_place(struct sv_record *r, uintptr_t address)
{
    const struct module *m = __atomic_load_n(&modules.first, __ATOMIC_ACQUIRE);
    while (m && (__atomic_load_n(&m->to, __ATOMIC_RELAXED) != STILL || address < m->start ||
                 address >= m->top))
        m = m->next;
    if (!m)
        return false;
    sv_record_word(r, m->path, m->npath);
    sv_record_put(r, "+%p", (void *)(address - m->start));
    return true;
}
