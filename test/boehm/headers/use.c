/*
 * Uses every macro of the C headers once, in C as old as programs are written in. headers.sh
 * compiles it, install.sh runs it too; whether the functions do their work is tested elsewhere.
 */
#include <gc.h>
#include <gc/gc_disclaim.h>
#include <gc/gc_gcj.h>
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>
#include <gc/javaxfc.h>

#if GC_VERSION_MAJOR != 8 || GC_VERSION_MINOR != 2 || GC_VERSION_MICRO != 2
#error "not the version whose face this is"
#endif

struct pair {
    struct pair *next;
    GC_word number;
    void *data;
};

static void finalize(void *obj, void *data)
{
    (void)obj;
    (void)data;
}

static struct GC_ms_entry *mark(GC_word *obj, struct GC_ms_entry *top, struct GC_ms_entry *limit,
                                GC_word environment)
{
    if (environment != 1)
        obj = (GC_word *)GC_USR_PTR_FROM_BASE(obj);
    return GC_MARK_AND_PUSH((void *)*obj, top, limit, (void **)obj);
}

static void *under_lock(void *link)
{
    return GC_REVEAL_POINTER(*(GC_hidden_pointer *)link);
}

static void objects(void)
{
    GC_hidden_pointer hidden;
    GC_finalization_proc earlier;
    void *earlier_data;
    struct pair *p = GC_NEW(struct pair);
    char *text = GC_STRDUP("text"), *start = GC_STRNDUP("text", 2), *walk = start;

    p->data = GC_NEW_UNCOLLECTABLE(struct pair);
    p->next = (struct pair *)GC_REALLOC(GC_MALLOC(1), sizeof(*p));
    p->next->data = GC_NEW_ATOMIC(struct pair);
    p->next->next = (struct pair *)GC_MALLOC_IGNORE_OFF_PAGE(1 << 20);
    p->next->next->next = (struct pair *)GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(1 << 20);
    GC_PTR_STORE(&p->next->data, text);
    GC_PTR_STORE_AND_DIRTY(&p->next->data, start);
    GC_END_STUBBORN_CHANGE(p);
    GC_FREE(GC_MALLOC_ATOMIC_UNCOLLECTABLE(1));
    GC_FREE(p->data);

    GC_REGISTER_DISPLACEMENT(8);
    GC_REGISTER_FINALIZER(p, finalize, 0, &earlier, &earlier_data);
    GC_REGISTER_FINALIZER_IGNORE_SELF(p, finalize, 0, 0, 0);
    GC_REGISTER_FINALIZER_NO_ORDER(p, finalize, 0, 0, 0);
    GC_REGISTER_FINALIZER_UNREACHABLE(p, 0, 0, 0, 0);
    hidden = GC_HIDE_POINTER(p);
    (void)GC_GENERAL_REGISTER_DISAPPEARING_LINK((void **)&hidden, p);
    (void)GC_REGISTER_LONG_LINK((void **)&earlier_data, p);
    p = (struct pair *)GC_call_with_alloc_lock(under_lock, &hidden);
    GC_reachable_here(p);
    GC_unregister_disappearing_link((void **)&hidden); /* they end with this function */
    GC_unregister_long_link(&earlier_data);

    walk = GC_PTR_ADD(walk, 1);
    GC_POST_INCR(walk);
    GC_POST_DECR(walk);
    (void)GC_PRE_INCR(walk, -1);
    GC_alloc_lock();
    GC_alloc_unlock();
}

static void typed(void)
{
    GC_word bits[GC_BITMAP_SIZE(struct pair)] = {0};
    GC_descr descriptor;
    void *p;

    GC_set_bit(bits, GC_WORD_OFFSET(struct pair, next));
    descriptor = GC_make_descriptor(bits, GC_WORD_LEN(struct pair) - !GC_get_bit(bits, 0));
    p = GC_MALLOC_EXPLICITLY_TYPED(sizeof(struct pair), descriptor);
    GC_reachable_here(p);
    p = GC_CALLOC_EXPLICITLY_TYPED(9, sizeof(struct pair), descriptor);
    GC_reachable_here(p);
}

static void kinds(void)
{
    static void *lists[2][GC_TINY_FREELISTS];
    static struct GC_finalizer_closure closure = {finalize, 0};
    GC_word descriptor = GC_MAKE_PROC(GC_new_proc(mark), 1);
    unsigned kind = GC_new_kind(GC_new_free_list(), descriptor, 0, 1);
    void *p, *list = 0, *vtable[2] = {0, 0};

    p = GC_GENERIC_OR_SPECIAL_MALLOC(sizeof(struct pair), (int)kind);
    GC_reachable_here(p);
    GC_MALLOC_WORDS(p, 4, lists[GC_I_NORMAL]);
    GC_MALLOC_ATOMIC_WORDS(p, 4, lists[GC_I_PTRFREE]);
    GC_CONS(p, p, 0, lists[GC_I_NORMAL]);
    GC_generic_malloc_many(32, GC_I_NORMAL, &list);
    while (list)
        list = GC_NEXT(list);
    GC_init_finalized_malloc();
    p = GC_finalized_malloc(sizeof(struct pair), &closure);
    GC_init_gcj_malloc(GC_GCJ_RESERVED_MARK_PROC_INDEX, (void *)mark);
    p = GC_GCJ_MALLOC(64, vtable);
    p = GC_GCJ_MALLOC_IGNORE_OFF_PAGE(64, vtable);
    GC_reachable_here(p);
}

#ifdef GC_THREADS
static void *thread_main(void *arg)
{
    sigset_t set;
    sigemptyset(&set);
    pthread_sigmask(SIG_BLOCK, &set, 0);
    if (dlopen(0, RTLD_LAZY) == 0)
        pthread_exit(arg);
    return arg;
}

static void threads(void)
{
    pthread_t thread;
    if (pthread_create(&thread, 0, thread_main, 0) == 0)
        pthread_join(thread, 0);
    if (pthread_create(&thread, 0, thread_main, 0) == 0)
        pthread_cancel(thread), pthread_detach(thread);
}
#endif

int main(void)
{
    GC_INIT();
    objects();
    typed();
    kinds();
#ifdef GC_THREADS
    threads();
#endif
    GC_gcollect();
    return 0;
}
