// The terminal of `salvage top`: a table with a cursor, and a text to scroll in (a process's
// report, help). ncurses keeps the screen; it is left before anything else is written.
//
// stderr goes to a file meanwhile: a line of the renderer's would spoil the screen. Its last line
// is shown below instead.
#include "screen.h"

#include <curses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "link.h"
#include "rendering.h"

#define KEY_ESC 27

static struct {
    struct watch *watch;
    enum watch_key key;
    size_t top;      // first row shown
    int pid;         // of the row under the cursor, 0: none yet
    char say[512];   // the line at the bottom
    int real_stderr; // the terminal's
    FILE *errors;    // what stderr is meanwhile, NULL: itself
} screen;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// ---- lines --------------------------------------------------------------------------------------

static void line_put(int y, int attributes, const char *text)
{
    attrset(attributes);
    mvaddnstr(y, 0, text, COLS);
    if (attributes != A_NORMAL) {
        int x = getcurx(stdscr);
        if (getcury(stdscr) == y)
            for (; x < COLS; x++)
                mvaddch(y, x, ' ');
    }
    attrset(A_NORMAL);
}

static size_t cursor_find(void)
{
    for (size_t i = 0; i < screen.watch->n; i++)
        if (screen.watch->row[i].process.pid == screen.pid)
            return i;
    return 0;
}

static void cursor_move(long by)
{
    long at = (long)cursor_find() + by, n = (long)screen.watch->n;
    at = at >= n ? n - 1 : at;
    at = at < 0 ? 0 : at;
    if (n)
        screen.pid = screen.watch->row[at].process.pid;
}

static void table_draw(void)
{
    char text[512];
    size_t at = cursor_find(), lines = LINES > 3 ? (size_t)LINES - 3 : 1;
    const struct watch *w = screen.watch;
    if (at < screen.top)
        screen.top = at;
    if (at >= screen.top + lines)
        screen.top = at - lines + 1;
    erase();
    snprintf(text, sizeof text, "salvage top: %zu processes, by %s%s", w->n, watch_keys[screen.key],
             w->hidden && geteuid() != 0 ? " (those of others are not shown)" : "");
    line_put(0, A_BOLD, text);
    watch_line(NULL, text, sizeof text, COLS);
    line_put(1, A_REVERSE, text);
    for (size_t i = screen.top; i < w->n && i < screen.top + lines; i++) {
        watch_line(&w->row[i], text, sizeof text, COLS);
        line_put(2 + (int)(i - screen.top), i == at ? A_STANDOUT : A_NORMAL, text);
    }
    if (!w->n)
        line_put(2, A_NORMAL, "  no process of yours runs under Salvage");
    line_put(LINES - 1, A_DIM,
             screen.say[0] ? screen.say : "q quit  Enter leaks  g collect  s sort  ? help");
    refresh();
}

// ---- a text -------------------------------------------------------------------------------------

struct lines {
    char **line;
    size_t n;
};

// Cuts the text at its newlines; what can't be shown becomes '?'.
static struct lines lines_cut(char *text)
{
    struct lines l = {0};
    size_t n = 1;
    for (const char *c = text; *c; c++)
        n += *c == '\n';
    l.line = memory_take(n * sizeof *l.line);
    for (char *at = text; at && *at; l.n++) {
        l.line[l.n] = at;
        at = strchr(at, '\n');
        if (at)
            *at++ = 0;
        for (char *c = l.line[l.n]; *c; c++)
            if (*c == '\t')
                *c = ' ';
            else if ((unsigned char)*c < ' ')
                *c = '?';
    }
    return l;
}

static void text_draw(const char *title, const struct lines *l, size_t top, size_t left)
{
    erase();
    line_put(0, A_REVERSE, title);
    for (size_t i = 0; i + 2 < (size_t)LINES && top + i < l->n; i++) {
        const char *line = l->line[top + i];
        line_put(1 + (int)i, strncmp(line, "SUMMARY", 7) == 0 ? A_BOLD : A_NORMAL,
                 strlen(line) > left ? line + left : "");
    }
    line_put(LINES - 1, A_DIM, "q back  arrows, PgUp, PgDn, Home, End scroll");
    refresh();
}

// Scrolls in the text until the user goes back.
static void text_show(const char *title, char *text)
{
    struct lines l = lines_cut(text);
    size_t top = 0, left = 0;
    for (;;) {
        size_t page = LINES > 3 ? (size_t)LINES - 3 : 1, most = l.n > page ? l.n - page : 0;
        top = top > most ? most : top;
        text_draw(title, &l, top, left);
        timeout(-1);
        switch (getch()) {
        case 'q':
        case KEY_ESC:
            free(l.line);
            return;
        case KEY_UP:
        case 'k':
            top -= top > 0;
            break;
        case KEY_DOWN:
        case 'j':
            top++;
            break;
        case KEY_PPAGE:
        case 'b':
            top = top > page ? top - page : 0;
            break;
        case KEY_NPAGE:
        case ' ':
            top += page;
            break;
        case KEY_LEFT:
            left -= left >= 8 ? 8 : left;
            break;
        case KEY_RIGHT:
            left += 8;
            break;
        case KEY_HOME:
            top = 0;
            break;
        case KEY_END:
            top = most;
            break;
        default: // a new size, say: drawn again
            break;
        }
    }
}

static void help_show(void)
{
    char text[] = "Enter  a leak check of the process under the cursor, and its leaking stacks\n"
                  "g      a collection in that process\n"
                  "up, down, k, j, PgUp, PgDn, Home, End   the cursor\n"
                  "s, S   the next or the last column to sort by\n"
                  "P      by process id       L  by heap live       R  by what was reclaimed\n"
                  "M      by what is lost     T  by pause           C  by processor time\n"
                  "r      look again now\n"
                  "q      the end\n"
                  "\n"
                  "LIVE      bytes held by the program, or in its threads' caches\n"
                  "GOAL      what the next collection is meant to end below\n"
                  "RECLAIM   bytes that the collector alone brought back\n"
                  "LOST/MIN  bytes lost a minute: mode=collect: reclaimed; mode=leaks: leaked\n"
                  "PAUSE99   99 of 100 stops of the program were not longer\n"
                  "CPU%      the collector's part of one processor since the last look\n"
                  "GCS       collections\n"
                  "-         the process doesn't answer: mode=off, or no collection yet\n";
    text_show("salvage top: keys and columns", text);
}

// ---- asking a process ---------------------------------------------------------------------------

static bool tick(void *what)
{
    static const char wheel[] = "|/-\\";
    static unsigned turn;
    char text[256];
    snprintf(text, sizeof text, "%s %c (q: give up)", (const char *)what, wheel[turn++ % 4]);
    line_put(LINES - 1, A_BOLD, text);
    clrtoeol();
    refresh();
    timeout(0);
    int c = getch();
    return c != 'q' && c != KEY_ESC;
}

static bool ask(const struct process *p, const char *request, const char *what,
                struct link_answer *answer)
{
    char *label = text_take("%s", what);
    struct link_patience patience = {.tick = tick, .arg = label};
    bool ok = link_ask(p, request, &patience, answer, screen.say);
    free(label);
    return ok;
}

static void gc_ask(const struct process *p)
{
    struct link_answer answer;
    unsigned long long reclaimed;
    char bytes[32];
    if (!ask(p, "gc\n", "collecting", &answer))
        return;
    if (fscanf(answer.text, "reclaimed %llu", &reclaimed) == 1)
        snprintf(screen.say, sizeof screen.say, "process %d: %s reclaimed", p->pid,
                 bytes_text(reclaimed, bytes, sizeof bytes));
    fclose(answer.text);
}

// What was said on stderr last.
static void errors_show(void)
{
    char line[512];
    fflush(stderr);
    if (!screen.errors)
        return;
    rewind(screen.errors);
    while (fgets(line, sizeof line, screen.errors)) {
        line[strcspn(line, "\n")] = 0;
        snprintf(screen.say, sizeof screen.say, "%s", line);
    }
}

static void leaks_show(const struct process *p)
{
    struct link_answer answer;
    struct rendering rendering = {0};
    char *text = NULL, title[128];
    size_t bytes;
    if (!ask(p, "leaks\n", "checking for leaks", &answer))
        return;
    FILE *out = open_memstream(&text, &bytes);
    long leaks = out ? rendering_run(&rendering, answer.text, "the record", out) : -1;
    if (out)
        fclose(out);
    fclose(answer.text);
    if (leaks < 0) {
        errors_show();
    } else if (leaks == 0) {
        snprintf(screen.say, sizeof screen.say, "process %d (%s): no leaks", p->pid, p->name);
    } else {
        snprintf(title, sizeof title, "process %d (%s): leaking stacks", p->pid, p->name);
        text_show(title, text);
    }
    free(text);
}

// ---- keys ---------------------------------------------------------------------------------------

static void sort_by(enum watch_key key)
{
    screen.key = key;
    watch_sort(screen.watch, key);
}

static bool key_sorts(int c)
{
    static const struct {
        char letter;
        enum watch_key key;
    } keys[] = {{'P', WATCH_PID},  {'L', WATCH_LIVE},  {'R', WATCH_RECLAIMED},
                {'M', WATCH_RATE}, {'T', WATCH_PAUSE}, {'C', WATCH_CPU}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (c == keys[i].letter) {
            sort_by(keys[i].key);
            return true;
        }
    if (c == 's' || c == 'S')
        sort_by((screen.key + (c == 's' ? 1 : WATCH_NKEYS - 1)) % WATCH_NKEYS);
    return c == 's' || c == 'S';
}

static bool key_moves(int c)
{
    const int page = LINES > 4 ? LINES - 4 : 1, all = 1 << 20;
    const struct {
        int key;
        int by;
    } keys[] = {{KEY_UP, -1},       {'k', -1},         {KEY_DOWN, 1},    {'j', 1},
                {KEY_PPAGE, -page}, {KEY_NPAGE, page}, {KEY_HOME, -all}, {KEY_END, all}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (c == keys[i].key) {
            cursor_move(keys[i].by);
            return true;
        }
    return false;
}

// False: the end.
static bool key_take(int c, double *next)
{
    const struct watch *w = screen.watch;
    struct process p = w->n ? w->row[cursor_find()].process : (struct process){0};
    if (c != ERR)
        screen.say[0] = 0;
    if (c == ERR || key_sorts(c) || key_moves(c))
        return true;
    if (c == 'r')
        *next = 0;
    else if (c == '?' || c == 'h')
        help_show();
    else if (c == 'g' && w->n)
        gc_ask(&p);
    else if ((c == '\n' || c == '\r' || c == KEY_ENTER) && w->n)
        leaks_show(&p);
    return c != 'q' && c != 'Q';
}

static void keys_loop(double delay, uint64_t count)
{
    double next = 0;
    for (uint64_t looks = 0;;) {
        if (now() >= next) {
            if (count && looks++ == count)
                return;
            watch_look(screen.watch);
            watch_sort(screen.watch, screen.key);
            cursor_move(0);
            next = now() + delay;
        }
        table_draw();
        double left = next - now();
        timeout(left > 0 ? (int)(left * 1000) + 1 : 0);
        if (!key_take(getch(), &next))
            return;
    }
}

bool screen_run(struct watch *w, enum watch_key key, double delay, uint64_t count)
{
    SCREEN *terminal = newterm(NULL, stdout, stdin);
    if (!terminal)
        return false;
    screen.watch = w;
    screen.key = key;
    screen.real_stderr = dup(STDERR_FILENO);
    screen.errors = tmpfile();
    if (screen.errors)
        dup2(fileno(screen.errors), STDERR_FILENO);
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    set_escdelay(50);
    keys_loop(delay, count);
    endwin();
    delscreen(terminal);
    dup2(screen.real_stderr, STDERR_FILENO);
    close(screen.real_stderr);
    if (screen.errors)
        fclose(screen.errors);
    return true;
}
