// The salvage command: its verbs, and what they share. Each verb is a file; main.c chooses.
#ifndef COMMAND_H
#define COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Exit statuses, as `env` and `timeout` have them; and 23 when leaks were found.
enum command_status {
    COMMAND_OK = 0,
    COMMAND_LEAKS = 23,
    COMMAND_FAILED = 125, // Salvage itself failed, or was misused
    COMMAND_DENIED = 126, // the program is there and can't be run
    COMMAND_MISSING = 127,
    COMMAND_SIGNAL = 128 // and the signal's number
};

// Each gets its own name as argv[0], and returns the command's exit status.
int run_main(int argc, char **argv);
int leaks_main(int argc, char **argv);
int stat_main(int argc, char **argv);
int top_main(int argc, char **argv);
int gc_main(int argc, char **argv);
int report_main(int argc, char **argv);

// One line on stderr: "salvage: VERB: ...". Returns COMMAND_FAILED.
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

// What getopt has already complained of: one more line says where help is.
int usage_error(void);

// The help of the verb that runs, on stdout. Returns COMMAND_OK.
int usage_show(void);

// Memory, or the end of the command with a line.
void *memory_take(size_t bytes);
char *text_take(const char *format, ...) __attribute__((format(printf, 1, 2)));

// A decimal number without anything around it, lo to hi.
bool number_parse(const char *text, uint64_t lo, uint64_t hi, uint64_t *out);

// The only operand of a verb is a process id: it, or 0 after a line that says what is wrong.
int pid_operand(int argc, char **argv, int at);

// Something long goes on: a line on stderr if that is a terminal, rewritten at each call from the
// second half second on; taken away by progress_end.
void progress_show(const char *what);
void progress_end(void);

#endif
