// Program files. Preloading is the dynamic linker's work: a program must name one, glibc's, for our
// architecture. Of a script it is the interpreter's file that counts.
#include "image.h"

#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool at_read(int fd, void *p, size_t bytes, uint64_t offset)
{
    return pread(fd, p, bytes, (off_t)offset) == (ssize_t)bytes;
}

static bool linker_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    return strncmp(base, "ld-linux", 8) == 0 || strncmp(base, "ld-2.", 5) == 0 ||
           strcmp(base, "ld.so") == 0;
}

static void elf_read(int fd, const Elf64_Ehdr *head, struct image *image)
{
    for (unsigned i = 0; i < head->e_phnum; i++) {
        Elf64_Phdr part;
        if (!at_read(fd, &part, sizeof part, head->e_phoff + (uint64_t)i * head->e_phentsize))
            return;
        if (part.p_type == PT_INTERP && part.p_filesz < sizeof image->interp)
            at_read(fd, image->interp, part.p_filesz, part.p_offset);
    }
}

static void script_read(int fd, struct image *image)
{
    char line[256] = "";
    ssize_t n = pread(fd, line, sizeof line - 1, 2);
    line[n > 0 ? n : 0] = 0;
    char *path = line + strspn(line, " \t");
    path[strcspn(path, " \t\n")] = 0;
    snprintf(image->interp, sizeof image->interp, "%s", path);
}

bool image_read(const char *path, struct image *image)
{
    Elf64_Ehdr head = {0};
    memset(image, 0, sizeof *image);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    ssize_t n = pread(fd, &head, sizeof head, 0);
    if (n >= 4 && memcmp(head.e_ident, ELFMAG, SELFMAG) == 0) {
        image->kind = IMAGE_ELF;
        image->machine = head.e_machine;
        image->narrow = head.e_ident[EI_CLASS] != ELFCLASS64;
        image->linker = linker_name(path);
        if (!image->narrow && n == (ssize_t)sizeof head)
            elf_read(fd, &head, image);
    } else if (n >= 2 && memcmp(head.e_ident, "#!", 2) == 0) {
        image->kind = IMAGE_SCRIPT;
        script_read(fd, image);
    }
    close(fd);
    return true;
}

static const char *machine_name(unsigned machine)
{
    static char number[32];
    static const struct {
        unsigned machine;
        const char *name;
    } names[] = {{EM_386, "i386"},       {EM_X86_64, "x86-64"}, {EM_AARCH64, "aarch64"},
                 {EM_ARM, "arm"},        {EM_RISCV, "risc-v"},  {EM_PPC64, "ppc64"},
                 {EM_S390, "s390"},      {EM_MIPS, "mips"},     {EM_PPC, "ppc"},
                 {EM_SPARCV9, "sparc64"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].machine == machine)
            return names[i].name;
    snprintf(number, sizeof number, "machine %u", machine);
    return number;
}

const char *image_unfit(const struct image *image, const char *name)
{
    static char why[8192];
    why[0] = 0;
    if (image->kind != IMAGE_ELF)
        return NULL;
    if (image->machine != EM_X86_64)
        snprintf(why, sizeof why, "%s is a program for %s, and libsalvage.so is for x86-64", name,
                 machine_name(image->machine));
    else if (image->narrow)
        snprintf(why, sizeof why, "%s is a 32-bit program (x32), and libsalvage.so is for 64 bits",
                 name);
    else if (!image->interp[0] && !image->linker)
        snprintf(why, sizeof why,
                 "%s is statically linked: there is no dynamic linker in it that could preload "
                 "libsalvage.so",
                 name);
    else if (strstr(image->interp, "ld-musl"))
        snprintf(why, sizeof why, "%s is linked with musl (%s), and libsalvage.so needs glibc",
                 name, image->interp);
    return why[0] ? why : NULL;
}
