// Names that other objects bound before they could find ours.
//
// A library that is preloaded comes before the C library when names are looked up, and so does one
// that the program itself was linked with in front of it. libgc.so.1 mostly comes by way of another
// library, and then behind: the program's poll, sigaction and pthread_sigmask are the C library's
// own, its waiting threads are no longer recognised as such, and a collection's signal ends their
// calls with EINTR. So their bindings are changed: every slot through which an object reaches a
// function that it doesn't have itself, and we export, is pointed at ours, as the dynamic linker
// would have done in the other order. Objects that are opened later follow at the first safe point
// after a collection.
//
// A slot is one word and is stored as one; who reads the old value calls the real function, which
// is where ours leads in the end. Slots that the linker has closed (RELRO) are opened for that
// moment. It closes them when an object is whole: what still is open there may be half relocated
// yet, so the next safe point looks once more. The C library and the dynamic linker stay as they
// are.
#include "binding.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

#include "arch.h"
#include "cycle.h"
#include "init.h"
#include "lock.h"
#include "os.h"
#include "scanners.h"

#define HW_PAGE 4096u

extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

// What of an object's dynamic section is of use here.
struct object {
    uintptr_t base;
    const ElfW(Sym) * symbols;
    const char *strings;
    const uint32_t *hash; // GNU's
    const ElfW(Rela) * rela[2];
    size_t nrela[2];
};

static struct {
    bool on;              // const after sv_binding_begin
    struct object own;    // likewise
    struct sv_lock lock;  //
    unsigned long long n; // lock: objects ever loaded, when we looked last
    bool again;           // lock: that look may have been too early for one of them
    struct sv_maps maps;  // lock, while we look
    void *opened;         // lock: a page that isn't writable otherwise; NULL: none
} binding;

// ---- objects ------------------------------------------------------------------------------------

// The linker leaves addresses there, except in objects whose section can't be written.
static const void *dynamic_pointer(const struct object *o, ElfW(Addr) at)
{
    return (const void *)(at < o->base ? o->base + at : at);
}

static void object_read(struct object *o, uintptr_t base, const ElfW(Dyn) * dyn)
{
    *o = (struct object){.base = base};
    for (; dyn->d_tag != DT_NULL; dyn++) {
        const void *p = dynamic_pointer(o, dyn->d_un.d_ptr);
        switch (dyn->d_tag) {
        case DT_SYMTAB:
            o->symbols = p;
            break;
        case DT_STRTAB:
            o->strings = p;
            break;
        case DT_GNU_HASH:
            o->hash = p;
            break;
        case DT_RELA:
            o->rela[0] = p;
            break;
        case DT_RELASZ:
            o->nrela[0] = dyn->d_un.d_val / sizeof(ElfW(Rela));
            break;
        case DT_JMPREL:
            o->rela[1] = p;
            break;
        case DT_PLTRELSZ:
            o->nrela[1] = dyn->d_un.d_val / sizeof(ElfW(Rela));
            break;
        }
    }
}

// The hash of DT_GNU_HASH (Bernstein's, times 33).
static uint32_t name_hash(const char *name)
{
    uint32_t h = 5381;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        h = h * 33 + *c;
    return h;
}

// Our function of that name, 0 if there is none. The table: four counts, the filter's words, a
// chain's first symbol for each bucket, and the hashes of all chains, odd where one ends.
static uintptr_t own_function(const char *name)
{
    const struct object *o = &binding.own;
    uint32_t nbuckets = o->hash[0], first = o->hash[1], nfilter = o->hash[2], h = name_hash(name);
    const ElfW(Addr) *filter = (const void *)(o->hash + 4);
    const uint32_t *buckets = (const void *)(filter + nfilter);
    const uint32_t *chains = buckets + nbuckets;
    uint32_t i = buckets[h % nbuckets];
    for (; i >= first; i++) {
        const ElfW(Sym) *s = &o->symbols[i];
        if ((chains[i - first] | 1) == (h | 1) && strcmp(o->strings + s->st_name, name) == 0)
            return s->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(s->st_info) == STT_FUNC
                       ? o->base + s->st_value
                       : 0;
        if (chains[i - first] & 1)
            break;
    }
    return 0;
}

// ---- slots --------------------------------------------------------------------------------------

// The page that stays writable for the next slot, which mostly lies there too, is closed.
static void page_close(void)
{
    if (binding.opened)
        sv_os_protect(binding.opened, HW_PAGE);
    binding.opened = NULL;
}

static bool page_open(void *page)
{
    if (page == binding.opened)
        return true;
    page_close();
    if (sv_os_commit(page, HW_PAGE) == 0)
        binding.opened = page;
    return binding.opened;
}

static void slot_store(uintptr_t *slot, uintptr_t function)
{
    const struct sv_mapping *map = sv_maps_find(&binding.maps, (uintptr_t)slot);
    if (!map || __atomic_load_n(slot, __ATOMIC_RELAXED) == function)
        return;
    bool closed = !(map->flags & SV_MAP_WRITE);
    if (closed && !page_open((void *)((uintptr_t)slot & ~(uintptr_t)(HW_PAGE - 1))))
        return;
    __atomic_store_n(slot, function, __ATOMIC_RELEASE);
    binding.again |= !closed;
}

static void relocation_look(const struct object *o, const ElfW(Rela) * r)
{
    if (!sv_arch_relocation_slot(ELF64_R_TYPE(r->r_info)))
        return;
    const ElfW(Sym) *s = &o->symbols[ELF64_R_SYM(r->r_info)];
    uintptr_t function = s->st_shndx == SHN_UNDEF ? own_function(o->strings + s->st_name) : 0;
    if (function)
        slot_store((uintptr_t *)(o->base + r->r_offset), function);
}

static bool name_begins(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    return strncmp(slash ? slash + 1 : path, name, strlen(name)) == 0;
}

static bool left_alone(const char *path)
{
    return name_begins(path, "libc.so") || name_begins(path, "ld-linux") ||
           name_begins(path, "linux-vdso");
}

static int object_look(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    struct object o;
    const ElfW(Dyn) *dynamic = NULL;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
            dynamic = (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    if (!dynamic || info->dlpi_addr == binding.own.base || left_alone(info->dlpi_name))
        return 0;
    object_read(&o, info->dlpi_addr, dynamic);
    for (unsigned k = 0; o.symbols && o.strings && k < 2; k++)
        for (size_t i = 0; o.rela[k] && i < o.nrela[k]; i++)
            relocation_look(&o, &o.rela[k][i]);
    page_close();
    return 0;
}

// ---- when ---------------------------------------------------------------------------------------

static int loaded_look(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    *(unsigned long long *)arg = info->dlpi_adds;
    return 1;
}

static void objects_look(void)
{
    int procfd = sv_cycle_proc();
    if (procfd < 0)
        return;
    binding.maps = (struct sv_maps){0};
    if (sv_maps_read(&binding.maps, procfd) == 0)
        dl_iterate_phdr(object_look, NULL);
    sv_maps_free(&binding.maps);
    sv_os_close(procfd);
}

void sv_binding_begin(void)
{
    uintptr_t base = (uintptr_t)&__ehdr_start;
    object_read(&binding.own, base, _DYNAMIC);
    uintptr_t found = (uintptr_t)dlsym(RTLD_DEFAULT, "poll");
    binding.on = sv_first_here() && binding.own.hash && found && found != own_function("poll");
    sv_binding_poll();
}

bool sv_binding_needed(void)
{
    return binding.on;
}

void sv_binding_poll(void)
{
    unsigned long long n = 0;
    if (!binding.on || !sv_lock_try(&binding.lock))
        return;
    dl_iterate_phdr(loaded_look, &n);
    if (n != binding.n || binding.again) {
        binding.again = false;
        binding.n = n;
        objects_look();
    }
    sv_lock_release(&binding.lock);
}
