/* One thread: its descriptor is a variable. */
extern void *sl_thread_pointer;

static inline uintptr_t
__get_tp(void)
{
    return (uintptr_t)sl_thread_pointer;
}

#define MC_PC regs.pc
