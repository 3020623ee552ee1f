// Under AT_SECURE (a set-user-id program) the library must ignore its options: whoever runs the
// program would otherwise make it write files and lines as its owner. ld.so ignores LD_PRELOAD
// there but for libraries in its own folders, so the test links a copy of itself against the
// library, in a temporary folder, makes that set-user-id root and runs it as nobody; the same copy
// without that bit shows that the options would have had an effect. Skipped without root, compiler
// or library.
#include "check.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/stat.h>

static char folder[] = "/tmp/salvage-secure-XXXXXX";
static char program[64], library[64], source[64], logfile[64];

static const char program_source[] =
    "#include <stdio.h>\n"
    "#include <stdlib.h>\n"
    "#include <string.h>\n"
    "#include <sys/auxv.h>\n"
    "#include <unistd.h>\n"
    "int salvage_enabled(void);\n"
    "size_t salvage_collect(void);\n"
    "int main(void) {\n"
    "    void *volatile p[100];\n"
    "    for (int i = 0; i < 100; i++)\n"
    "        p[i] = memset(malloc(1000), 1, 1000);\n"
    "    salvage_collect();\n"
    "    for (int i = 0; i < 100; i++)\n"
    "        free(p[i]);\n"
    "    printf(\"secure %lu uid %u salvage %d\\n\", getauxval(AT_SECURE), geteuid(),\n"
    "           salvage_enabled());\n"
    "    return 0;\n"
    "}\n";

static bool copy(const char *from, const char *to)
{
    char command[5000];
    snprintf(command, sizeof command, "cp %s %s", from, to);
    return system(command) == 0;
}

static bool program_build(void)
{
    char command[1024];
    FILE *f = fopen(source, "w");
    if (!f || fputs(program_source, f) < 0 || fclose(f))
        return false;
    snprintf(command, sizeof command,
             "env -u LD_PRELOAD cc -fno-builtin -o %s %s -L%s -l:libsalvage.so -Wl,-rpath,%s",
             program, source, folder, folder);
    return system(command) == 0;
}

// Runs the program as nobody; what it wrote to both streams in text.
static int program_run(mode_t mode, const char *options, char *text, size_t size)
{
    int fd[2];
    if (chmod(program, mode) || pipe(fd))
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char setting[256], *argv[] = {program, NULL}, *envp[] = {setting, NULL};
        snprintf(setting, sizeof setting, "SALVAGE=%s", options);
        dup2(fd[1], STDOUT_FILENO);
        dup2(fd[1], STDERR_FILENO);
        close(fd[0]);
        close(fd[1]);
        alarm(60);
        if (setgid(65534) || setuid(65534))
            _exit(124);
        execve(program, argv, envp);
        _exit(126);
    }
    close(fd[1]);
    check_slurp(fd[0], text, size);
    close(fd[0]);
    return check_wait(pid);
}

static void runs(void)
{
    char text[8192], options[256], words[48];
    int status = program_run(0755, "foo=1", text, sizeof text);
    CHECK(status == 0 && strstr(text, "foo") && strstr(text, "secure 0 uid 65534 salvage 1"),
          "a plain program: %s: %s", check_status(status, words), text);
    status = program_run(04755, "", text, sizeof text);
    CHECK(status == 0 && !strcmp(text, "secure 1 uid 0 salvage 1\n"),
          "a set-user-id program: %s: %s", check_status(status, words), text);
    status = program_run(04755, "foo=1,gcpercent=abc", text, sizeof text);
    CHECK(status == 0 && !strcmp(text, "secure 1 uid 0 salvage 1\n"),
          "bad options, set-user-id: %s: %s", check_status(status, words), text);
    status = program_run(04755, "gctrace=2,stress=16,mode=leaks", text, sizeof text);
    CHECK(status == 0 && !strcmp(text, "secure 1 uid 0 salvage 1\n"),
          "options that print, set-user-id: %s: %s", check_status(status, words), text);
    snprintf(options, sizeof options, "log=%s,stats=%s,gctrace=1", logfile, logfile);
    status = program_run(04755, options, text, sizeof text);
    CHECK(status == 0 && !strcmp(text, "secure 1 uid 0 salvage 1\n"), "a log, set-user-id: %s: %s",
          check_status(status, words), text);
    CHECK(access(logfile, F_OK) != 0, "a set-user-id program writes %s", logfile);
    status = program_run(0755, "gctrace=1", text, sizeof text);
    CHECK(status == 0 && strlen(text) > strlen("secure 0 uid 65534 salvage 1\n"),
          "gctrace=1 says nothing: %s", text);
}

int main(void)
{
    Dl_info info;
    CHECK(getauxval(AT_SECURE) == 0, "the test itself runs under AT_SECURE");
    if (!check_salvage() || geteuid() ||
        !dladdr(check_hide((void *)(uintptr_t)salvage_enabled), &info)) {
        puts("skipped: needs root and the library");
        return check_done();
    }
    if (!CHECK(mkdtemp(folder), "mkdtemp"))
        return check_done();
    snprintf(program, sizeof program, "%s/program", folder);
    snprintf(library, sizeof library, "%s/libsalvage.so", folder);
    snprintf(source, sizeof source, "%s/program.c", folder);
    snprintf(logfile, sizeof logfile, "%s/log", folder);
    CHECK(chmod(folder, 0755) == 0, "chmod");
    if (CHECK(copy(info.dli_fname, library), "the library can't be copied") &&
        CHECK(program_build(), "the program can't be linked")) {
        CHECK(chmod(library, 0755) == 0, "chmod");
        runs();
    }
    unlink(program), unlink(library), unlink(source), unlink(logfile);
    CHECK(rmdir(folder) == 0, "%s isn't empty", folder);
    return check_done();
}
