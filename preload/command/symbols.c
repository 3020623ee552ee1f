// Symbols by elfutils' libdw. Each file of a load map gets a Dwfl of its own, where it lies at
// address 0, so that an address less the recorded bias is looked up. A common one for the whole map
// would not do: a record spans time, and libraries loaded one after the other at the same place
// overlap; and the records of one report share what was read.
//
// A return address is looked up one byte lower, in the call; an interrupted one as it is. Each
// address of a file is resolved once, to all the frames that inlining made of it: the function is
// found by the ranges of the compilation units and their functions, which are read once for each
// unit and searched by halves (libdwfl's own way needs .debug_aranges, which clang doesn't write,
// and walks the whole unit each time). Where there is no DWARF the symbol table answers, and where
// that covers nothing, its nearest name before the address, marked as such.
//
// A file whose build id isn't the recorded one is never asked: wrong names are worse than none.
// What keeps a file from being used is told once.
//
// Of libsalvage.so the program knows one function, the one that it called: what that inlined or
// called to allocate is left out, and so are the library's frames farther out, its way around main
// and the functions that threads start in.
#include "symbols.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "room.h"

#define INLINED_MAX 64 // frames of one address

struct range { // of a compilation unit or a function, in the debug information's addresses
    uint64_t low, high;
    Dwarf_Die die;
    struct unit *unit; // of a unit; NULL: of a function
};

struct ranges { // sorted by low
    struct range *range;
    size_t n, capacity;
};

struct unit { // a compilation unit; several ranges may lead to one
    Dwarf_Die die;
    bool functions_read;
    struct ranges functions;
    struct unit *next;
};

struct symbol {         // of a symbol table
    uint64_t low, high; // high == low: no size, it reaches to the next
    const char *name;
    unsigned rank; // of several at one place the lowest is shown
};

struct file {
    char *path, *build_id; // as recorded; build_id NULL: none
    bool ours;             // libsalvage.so: its sources are named from its root
    Dwfl *dwfl;            // NULL: nothing to ask
    Dwfl_Module *module;
    Dwarf_Addr dwarf_bias; // address minus this is the one in the debug information
    bool units_read, symbols_read;
    struct ranges units;
    struct unit *all_units;
    struct symbol *symbols;
    size_t nsymbols, symbols_capacity;
    struct file *next;
};

struct place { // an address of a file, resolved
    const struct file *file;
    uint64_t offset;
    struct frame *frame; // without `address`
    size_t n;
};

struct symbols {
    struct file *files;
    const struct raw_record *record; // whose modules `of_module` has
    struct file **of_module;         // NULL: not looked at yet
    struct place *places;            // hashed by file and offset, open addressing
    size_t nplaces, places_capacity; // a power of two
    char **texts;                    // names that were made
    size_t ntexts, texts_capacity;
};

static char *debuginfo_path; // NULL: libdwfl's default
static const Dwfl_Callbacks callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .debuginfo_path = &debuginfo_path,
};

// ---- files -------------------------------------------------------------------------------------

static void build_id_print(struct text *text, const unsigned char *bytes, int n)
{
    for (int i = 0; i < n; i++)
        text_print(text, "%02x", bytes[i]);
}

// Opens the path as an object of its own. 0, an errno, or -1: libdwfl says why.
static int dwfl_open(struct file *f, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0)
        return errno;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return ENOENT;
    }
    f->dwfl = dwfl_begin(&callbacks);
    if (f->dwfl) {
        dwfl_report_begin(f->dwfl);
        f->module = dwfl_report_elf(f->dwfl, path, path, fd, 0, true);
        dwfl_report_end(f->dwfl, NULL, NULL);
    }
    if (f->module)
        return 0;
    close(fd);
    return -1;
}

static void dwfl_close(struct file *f)
{
    dwfl_end(f->dwfl);
    f->dwfl = NULL;
    f->module = NULL;
}

// Whether the open file is the recorded one; tells when it isn't.
static bool build_id_check(const struct file *f)
{
    const unsigned char *bytes = NULL;
    GElf_Addr where;
    int n = f->build_id ? dwfl_module_build_id(f->module, &bytes, &where) : 0;
    if (!f->build_id)
        return true;
    struct text now = {0};
    build_id_print(&now, bytes, n);
    bool same = now.s && strcasecmp(now.s, f->build_id) == 0;
    if (!same)
        fprintf(stderr,
                "salvage: %s: changed since it was recorded (build id %s, now %s): no "
                "symbols from it\n",
                f->path, f->build_id, now.s ? now.s : "none");
    free(now.s);
    return same;
}

// The file is gone: its separate debug information by the build id has the same symbols and lines.
static bool file_open_separate(struct file *f)
{
    struct text path = {0};
    if (!f->build_id || strlen(f->build_id) < 3)
        return false;
    text_print(&path, "/usr/lib/debug/.build-id/%.2s/%s.debug", f->build_id, f->build_id + 2);
    bool found = dwfl_open(f, path.s) == 0;
    free(path.s);
    if (!found)
        dwfl_close(f);
    return found;
}

// libdwfl looks the build id up, at debuginfod's servers too.
static bool file_open_asked(struct file *f, const struct raw_module *m)
{
    unsigned char bytes[64];
    size_t n = f->build_id ? strlen(f->build_id) / 2 : 0;
    if (n == 0 || n > sizeof(bytes) || !getenv("DEBUGINFOD_URLS"))
        return false;
    for (size_t i = 0; i < n; i++) {
        char digits[3] = {f->build_id[2 * i], f->build_id[2 * i + 1]};
        bytes[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    f->dwfl = dwfl_begin(&callbacks);
    if (!f->dwfl)
        return false;
    dwfl_report_begin(f->dwfl);
    f->module = dwfl_report_module(f->dwfl, f->path, m->start - m->bias, m->end - m->bias);
    bool good = f->module && dwfl_module_report_build_id(f->module, bytes, n, 0) == 0;
    dwfl_report_end(f->dwfl, NULL, NULL);
    GElf_Addr bias;
    if (good && dwfl_module_getelf(f->module, &bias) && bias == 0)
        return true;
    dwfl_close(f);
    return false;
}

static void file_open(struct file *f, const struct raw_module *m)
{
    if (f->path[0] != '/')
        return; // the vdso, a name without a file
    int error = dwfl_open(f, f->path);
    if (error == 0 && build_id_check(f))
        return;
    const char *why = error > 0 ? strerror(error) : dwfl_errmsg(-1);
    dwfl_close(f);
    if (file_open_separate(f) || file_open_asked(f, m))
        return;
    if (error != 0)
        fprintf(stderr, "salvage: %s: %s: no symbols from it\n", f->path, why);
}

static bool text_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static struct file *file_of(struct symbols *s, const struct raw_module *m)
{
    for (struct file *f = s->files; f; f = f->next) {
        if (strcmp(f->path, m->path) == 0 && text_same(f->build_id, m->build_id))
            return f;
    }
    struct file *f = room_new(1, sizeof(*f));
    const char *slash = strrchr(m->path, '/');
    f->path = room_text(m->path, strlen(m->path));
    f->build_id = m->build_id ? room_text(m->build_id, strlen(m->build_id)) : NULL;
    f->ours = strcmp(slash ? slash + 1 : m->path, "libsalvage.so") == 0;
    f->next = s->files;
    s->files = f;
    file_open(f, m);
    return f;
}

static void file_free(struct file *f)
{
    while (f->all_units) {
        struct unit *unit = f->all_units;
        f->all_units = unit->next;
        free(unit->functions.range);
        free(unit);
    }
    free(f->units.range);
    free(f->symbols);
    dwfl_end(f->dwfl);
    free(f->path);
    free(f->build_id);
    free(f);
}

// ---- ranges ------------------------------------------------------------------------------------

static void ranges_add(struct ranges *all, Dwarf_Die *die, struct unit *unit)
{
    Dwarf_Addr base, low, high;
    ptrdiff_t at = 0;
    while ((at = dwarf_ranges(die, at, &base, &low, &high)) > 0) {
        if (low >= high)
            continue;
        all->range = room_more(all->range, all->n, &all->capacity, sizeof(*all->range));
        all->range[all->n++] = (struct range){low, high, *die, unit};
    }
}

static int range_compare(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

static void ranges_sort(struct ranges *all)
{
    if (all->n)
        qsort(all->range, all->n, sizeof(*all->range), range_compare);
}

// Ranges of functions that the linker dropped lie on top of one another at 0; elsewhere none
// overlap, but for a few of merged functions.
#define OVERLAP 8

static const struct range *ranges_find(const struct ranges *all, uint64_t address)
{
    size_t lo = 0, hi = all->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (all->range[mid].low <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (size_t back = 0; back < OVERLAP && back < lo; back++) {
        const struct range *r = &all->range[lo - 1 - back];
        if (address < r->high)
            return r;
    }
    return NULL;
}

static bool tag_holds_functions(int tag)
{
    return tag == DW_TAG_namespace || tag == DW_TAG_structure_type || tag == DW_TAG_class_type ||
           tag == DW_TAG_union_type || tag == DW_TAG_module;
}

#define NESTED_MAX 64 // levels of scopes: no sane file comes near

static void functions_collect(struct ranges *all, Dwarf_Die *parent, unsigned depth)
{
    Dwarf_Die child;
    if (depth == NESTED_MAX || dwarf_child(parent, &child) != 0)
        return;
    do {
        int tag = dwarf_tag(&child);
        if (tag == DW_TAG_subprogram)
            ranges_add(all, &child, NULL);
        else if (tag_holds_functions(tag))
            functions_collect(all, &child, depth + 1);
    } while (dwarf_siblingof(&child, &child) == 0);
}

// Where a unit's functions are described: in another file with split DWARF.
static Dwarf_Die unit_body(Dwarf_Die *unit)
{
    Dwarf_Die body;
    uint8_t type;
    if (dwarf_cu_info(unit->cu, NULL, &type, NULL, &body, NULL, NULL, NULL) == 0 &&
        type == DW_UT_skeleton && dwarf_tag(&body) == DW_TAG_compile_unit)
        return body;
    return *unit;
}

static const struct ranges *unit_functions(struct unit *unit)
{
    if (!unit->functions_read) {
        Dwarf_Die body = unit_body(&unit->die);
        unit->functions_read = true;
        functions_collect(&unit->functions, &body, 0);
        ranges_sort(&unit->functions);
    }
    return &unit->functions;
}

// A unit without ranges of its own has those of its functions.
static void unit_add(struct file *f, Dwarf_Die *die)
{
    struct unit *unit = room_new(1, sizeof(*unit));
    unit->die = *die;
    unit->next = f->all_units;
    f->all_units = unit;
    size_t before = f->units.n;
    ranges_add(&f->units, die, unit);
    if (f->units.n > before)
        return;
    const struct ranges *functions = unit_functions(unit);
    for (size_t i = 0; i < functions->n; i++) {
        struct range r = functions->range[i];
        r.unit = unit;
        f->units.range = room_more(f->units.range, f->units.n, &f->units.capacity, sizeof(r));
        f->units.range[f->units.n++] = r;
    }
}

static void units_read(struct file *f)
{
    f->units_read = true;
    if (!dwfl_module_getdwarf(f->module, &f->dwarf_bias))
        return;
    Dwarf_Die *unit = NULL;
    Dwarf_Addr bias;
    while ((unit = dwfl_module_nextcu(f->module, unit, &bias))) {
        int tag = dwarf_tag(unit);
        if (tag == DW_TAG_compile_unit || tag == DW_TAG_skeleton_unit)
            unit_add(f, unit);
    }
    ranges_sort(&f->units);
}

// ---- the symbol table --------------------------------------------------------------------------

static bool section_executable(Elf *elf, GElf_Word index)
{
    GElf_Shdr header;
    Elf_Scn *section = elf ? elf_getscn(elf, index) : NULL;
    return section && gelf_getshdr(section, &header) && header.sh_flags & SHF_EXECINSTR;
}

// Names for the public before others: malloc before __libc_malloc before a local alias.
static unsigned symbol_rank(const GElf_Sym *sym, const char *name)
{
    unsigned binding = GELF_ST_BIND(sym->st_info);
    unsigned local = binding == STB_GLOBAL ? 0 : binding == STB_WEAK ? 1 : 2;
    unsigned underscores = (unsigned)strspn(name, "_");
    if (name[0] == '_' && (name[1] == 'Z' || name[1] == 'R'))
        underscores = 0; // mangled
    return local * 16 + (underscores < 15 ? underscores : 15);
}

static int symbol_compare(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;
    if (x->low != y->low)
        return x->low < y->low ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank < y->rank ? 1 : -1; // the best last, where the search arrives
    return strcmp(y->name, x->name);
}

static void symbols_read(struct file *f)
{
    f->symbols_read = true;
    int n = dwfl_module_getsymtab(f->module);
    for (int i = 1; i < n; i++) {
        GElf_Sym sym;
        GElf_Addr address;
        GElf_Word section;
        Elf *elf;
        Dwarf_Addr bias;
        const char *name =
            dwfl_module_getsym_info(f->module, i, &sym, &address, &section, &elf, &bias);
        int type = GELF_ST_TYPE(sym.st_info);
        if (!name || !*name || section == SHN_UNDEF || section == SHN_ABS)
            continue;
        if (type != STT_FUNC && type != STT_GNU_IFUNC &&
            (type != STT_NOTYPE || !section_executable(elf, section)))
            continue;
        f->symbols = room_more(f->symbols, f->nsymbols, &f->symbols_capacity, sizeof(*f->symbols));
        f->symbols[f->nsymbols++] = (struct symbol){
            .low = address,
            .high = address + sym.st_size,
            .name = name,
            .rank = symbol_rank(&sym, name),
        };
    }
    if (f->nsymbols)
        qsort(f->symbols, f->nsymbols, sizeof(*f->symbols), symbol_compare);
}

// The symbol that covers the address, or the nearest before it; NULL: none before.
static const struct symbol *symbol_find(struct file *f, uint64_t address, bool *covers)
{
    if (!f->symbols_read)
        symbols_read(f);
    size_t lo = 0, hi = f->nsymbols;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (f->symbols[mid].low <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0)
        return NULL;
    const struct symbol *nearest = &f->symbols[lo - 1];
    for (size_t back = 0; back < OVERLAP && back < lo; back++) {
        const struct symbol *s = &f->symbols[lo - 1 - back];
        *covers = address < s->high || (s->high == s->low && s->low == nearest->low);
        if (*covers)
            return s;
    }
    return nearest;
}

// ---- names -------------------------------------------------------------------------------------

static const char *text_keep(struct symbols *s, char *text)
{
    s->texts = room_more(s->texts, s->ntexts, &s->texts_capacity, sizeof(*s->texts));
    return s->texts[s->ntexts++] = text;
}

// NULL: not a mangled name.
static const char *name_demangle(struct symbols *s, const char *linkage)
{
    char *text = linkage && linkage[0] == '_'
                     ? cplus_demangle(linkage, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO)
                     : NULL;
    return text ? text_keep(s, text) : NULL;
}

// Without the version that a linker writes into some symbol tables.
static const char *symbol_plain(struct symbols *s, const char *name)
{
    const char *at = strchr(name, '@');
    return at && at > name ? text_keep(s, room_text(name, (size_t)(at - name))) : name;
}

static void frame_name_symbol(struct symbols *s, struct file *f, struct frame *frame)
{
    bool covers = false;
    const struct symbol *symbol = symbol_find(f, frame->offset, &covers);
    if (!symbol)
        return;
    frame->linkage = symbol_plain(s, symbol->name);
    frame->name = name_demangle(s, frame->linkage);
    if (!frame->name)
        frame->name = frame->linkage;
    frame->nearest = !covers;
    frame->into = frame->offset - symbol->low;
}

static const char *die_linkage(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    if (!dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute) &&
        !dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute))
        return NULL;
    return dwarf_formstring(&attribute);
}

static void frame_name_die(struct symbols *s, struct file *f, Dwarf_Die *die, struct frame *frame)
{
    const char *name = dwarf_diename(die);
    frame->linkage = die_linkage(die);
    frame->name = name_demangle(s, frame->linkage);
    if (!frame->linkage && dwarf_tag(die) == DW_TAG_subprogram) {
        struct frame symbol = {.offset = frame->offset};
        frame_name_symbol(s, f, &symbol);
        bool mangled = symbol.name && symbol.name != symbol.linkage;
        if (!symbol.nearest && (mangled || !name)) { // a C++ function without a public name
            frame->linkage = symbol.linkage;
            frame->name = symbol.name;
        }
    }
    if (!frame->linkage)
        frame->linkage = name;
    if (!frame->name)
        frame->name = name ? name : frame->linkage;
}

// ---- places ------------------------------------------------------------------------------------

// The function and what is inlined at the address, outermost first.
struct chain {
    Dwarf_Die die[INLINED_MAX];
    size_t n;
};

static void chain_descend(struct chain *chain, Dwarf_Die *parent, uint64_t pc, unsigned depth)
{
    Dwarf_Die child;
    if (depth == NESTED_MAX || chain->n == INLINED_MAX || dwarf_child(parent, &child) != 0)
        return;
    do {
        int tag = dwarf_tag(&child);
        bool inlined = tag == DW_TAG_inlined_subroutine;
        if (!inlined && tag != DW_TAG_lexical_block && tag != DW_TAG_try_block &&
            tag != DW_TAG_catch_block)
            continue;
        if (dwarf_haspc(&child, pc) != 1)
            continue;
        if (inlined)
            chain->die[chain->n++] = child;
        chain_descend(chain, &child, pc, depth + 1);
        return;
    } while (dwarf_siblingof(&child, &child) == 0);
}

static unsigned die_number(Dwarf_Die *die, unsigned attribute_name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word v = 0;
    if (!dwarf_attr(die, attribute_name, &attribute) || dwarf_formudata(&attribute, &v) != 0)
        return 0;
    return (unsigned)v;
}

// Our own sources are named from our root, as everybody knows them.
static const char *file_shown(const struct file *f, Dwarf_Die *unit, const char *path)
{
    Dwarf_Attribute attribute;
    const char *root = f->ours && dwarf_attr(unit, DW_AT_comp_dir, &attribute)
                           ? dwarf_formstring(&attribute)
                           : NULL;
    size_t n = root ? strlen(root) : 0;
    return n && path && strncmp(path, root, n) == 0 && path[n] == '/' ? path + n + 1 : path;
}

// Where the inlined call was written.
static void frame_line_call(const struct file *f, Dwarf_Die *unit, Dwarf_Die *inlined,
                            struct frame *frame)
{
    Dwarf_Files *files;
    size_t n;
    Dwarf_Die body = unit_body(unit);
    unsigned index = die_number(inlined, DW_AT_call_file);
    frame->line = die_number(inlined, DW_AT_call_line);
    if (frame->line && dwarf_getsrcfiles(&body, &files, &n) == 0 && index < n)
        frame->file = file_shown(f, unit, dwarf_filesrc(files, index, NULL, NULL));
}

static void frame_line_address(const struct file *f, Dwarf_Die *unit, uint64_t pc,
                               struct frame *frame)
{
    Dwarf_Line *line = dwarf_getsrc_die(unit, pc);
    int number = 0;
    if (!line)
        return;
    frame->file = file_shown(f, unit, dwarf_linesrc(line, NULL, NULL));
    if (dwarf_lineno(line, &number) == 0 && number > 0)
        frame->line = (unsigned)number;
}

// By DWARF; 0: it doesn't know the address.
static size_t place_resolve_dwarf(struct symbols *s, struct file *f, uint64_t offset,
                                  struct frame *out)
{
    if (!f->units_read)
        units_read(f);
    uint64_t pc = offset - f->dwarf_bias;
    const struct range *range = ranges_find(&f->units, pc);
    if (!range)
        return 0;
    Dwarf_Die *unit = &range->unit->die;
    const struct range *function = ranges_find(unit_functions(range->unit), pc);
    struct chain chain = {.n = 0};
    out[0] = (struct frame){.offset = offset, .module = f->path};
    if (!function) {
        frame_name_symbol(s, f, &out[0]);
        frame_line_address(f, unit, pc, &out[0]);
        return 1;
    }
    chain.die[chain.n++] = function->die;
    chain_descend(&chain, &chain.die[0], pc, 0);
    for (size_t i = 0; i < chain.n; i++) { // innermost first
        Dwarf_Die *die = &chain.die[chain.n - 1 - i];
        out[i] = (struct frame){.offset = offset, .module = f->path, .inlined = i + 1 < chain.n};
        frame_name_die(s, f, die, &out[i]);
        if (i == 0)
            frame_line_address(f, unit, pc, &out[i]);
        else
            frame_line_call(f, unit, &chain.die[chain.n - i], &out[i]);
    }
    return chain.n;
}

// The function of ours that was called, by its public name.
static size_t frames_ours(struct symbols *s, struct file *f, struct frame *frames, size_t n)
{
    if (n > 1)
        frames[0] = frames[n - 1];
    struct frame public = {.offset = frames[0].offset};
    frame_name_symbol(s, f, &public);
    if (public.name && !public.nearest) {
        frames[0].name = public.name;
        frames[0].linkage = public.linkage;
    }
    return 1;
}

static void place_resolve(struct symbols *s, struct file *f, struct place *place)
{
    struct frame frames[INLINED_MAX];
    size_t n = f->dwfl ? place_resolve_dwarf(s, f, place->offset, frames) : 0;
    if (n && f->ours)
        n = frames_ours(s, f, frames, n);
    if (n == 0) {
        frames[0] = (struct frame){.offset = place->offset, .module = f->path};
        if (f->dwfl)
            frame_name_symbol(s, f, &frames[0]);
        n = 1;
    }
    place->frame = room_new(n, sizeof(*frames));
    memcpy(place->frame, frames, n * sizeof(*frames));
    place->n = n;
}

static size_t place_slot(const struct symbols *s, const struct file *file, uint64_t offset)
{
    uint64_t hash = ((uint64_t)(uintptr_t)file >> 4 ^ offset) * 0x9e3779b97f4a7c15;
    size_t i = (size_t)(hash >> 20) & (s->places_capacity - 1);
    while (s->places[i].file && (s->places[i].file != file || s->places[i].offset != offset))
        i = (i + 1) & (s->places_capacity - 1);
    return i;
}

static void places_grow(struct symbols *s)
{
    struct place *old = s->places;
    size_t n = s->places_capacity;
    s->places_capacity = n ? n * 2 : 1024;
    s->places = room_new(s->places_capacity, sizeof(*s->places));
    for (size_t i = 0; i < n; i++) {
        if (old[i].file)
            s->places[place_slot(s, old[i].file, old[i].offset)] = old[i];
    }
    free(old);
}

static const struct place *place_find(struct symbols *s, struct file *f, uint64_t offset)
{
    if (s->nplaces * 2 >= s->places_capacity)
        places_grow(s);
    struct place *place = &s->places[place_slot(s, f, offset)];
    if (!place->file) {
        place->file = f;
        place->offset = offset;
        place_resolve(s, f, place);
        s->nplaces++;
    }
    return place;
}

// ---- stacks ------------------------------------------------------------------------------------

static struct file *module_file(struct symbols *s, const struct raw_record *record,
                                const struct raw_module *m)
{
    if (s->record != record) {
        free(s->of_module);
        s->of_module = room_new(record->nmodules, sizeof(struct file *));
        s->record = record;
    }
    struct file **file = &s->of_module[m - record->modules];
    if (!*file)
        *file = file_of(s, m);
    return *file;
}

static void frames_add(struct frames *frames, size_t *capacity, const struct frame *frame,
                       uint64_t address)
{
    frames->frame = room_more(frames->frame, frames->n, capacity, sizeof(*frames->frame));
    frames->frame[frames->n] = *frame;
    frames->frame[frames->n++].address = address;
}

struct frames symbols_stack(struct symbols *s, const struct raw_record *record,
                            const struct raw_stack *stack, double when)
{
    struct frames frames = {0};
    size_t capacity = 0;
    bool outside = false; // a frame that isn't ours was seen
    for (size_t i = 0; i < stack->n; i++) {
        uint64_t address = stack->frames[i] - (stack->exact[i] || !stack->frames[i] ? 0 : 1);
        const struct raw_module *m = raw_module_find(record, address, when);
        struct file *file = m ? module_file(s, record, m) : NULL;
        bool ours = file && file->ours;
        if (!file)
            frames_add(&frames, &capacity, &(struct frame){.offset = 0}, address);
        if (ours && !outside)
            frames.n = 0; // what it called
        outside |= !ours;
        if (!file || (ours && outside))
            continue;
        const struct place *place = place_find(s, file, address - m->bias);
        for (size_t j = 0; j < place->n; j++)
            frames_add(&frames, &capacity, &place->frame[j], address);
    }
    return frames;
}

struct symbols *symbols_open(bool debuginfod)
{
    if (!debuginfod)
        unsetenv("DEBUGINFOD_URLS");
    else if (!getenv("DEBUGINFOD_URLS"))
        fputs("salvage: DEBUGINFOD_URLS names no server to ask for symbols\n", stderr);
    return room_new(1, sizeof(struct symbols));
}

void symbols_close(struct symbols *s)
{
    for (size_t i = 0; i < s->places_capacity; i++)
        free(s->places[i].frame);
    for (size_t i = 0; i < s->ntexts; i++)
        free(s->texts[i]);
    while (s->files) {
        struct file *f = s->files;
        s->files = f->next;
        file_free(f);
    }
    free(s->of_module);
    free(s->places);
    free(s->texts);
    free(s);
}
