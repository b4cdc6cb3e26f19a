/* The guest as C code that wasm2c made of it: no engine at run time. */
#include "sandbox/engine.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "guest.h"
#include "wasm-rt-impl.h"

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/process.h"
#include "sandbox/signals.h"

enum { WASM_PAGE = 65536, MAX_PAGES = 65535 /* with one more, wasm2c's 32-bit size becomes 0 */ };
static const size_t reserved = (size_t)8 << 30; /* by wasm2c's runtime for each memory */

static Z_guest_instance_t instance;
static bool is_live;
static uint32_t max_pages = MAX_PAGES;
static jmp_buf leave;

u32
Z_envZ_sys(struct Z_env_instance_t *env, u32 n, u32 a, u32 b, u32 c, u32 d, u32 e, u32 f)
{
    const uint32_t arg[6] = { a, b, c, d, e, f };

    if (instance.w2c_memory.size != sl_guest_memory.size) {
        sl_guest_memory.size = instance.w2c_memory.size;
        atomic_store(&sl_process_self()->memory_kb, instance.w2c_memory.size / 1024);
    }
    return (u32)sl_call(n, arg);
}

void
sl_engine_start(void)
{
    wasm_rt_init();
    Z_guest_init_module();
}

void
sl_engine_set_memory_max(uint64_t bytes)
{
    max_pages = bytes / WASM_PAGE < MAX_PAGES ? (uint32_t)(bytes / WASM_PAGE) : MAX_PAGES;
}

static void
instance_free(void)
{
    uint8_t *memory = instance.w2c_memory.data;
    size_t used = instance.w2c_memory.size;

    Z_guest_free(&instance);
    munmap(memory + used, reserved - used); /* the runtime gives back what was used only */
}

static void
instance_make(void)
{
    if (is_live)
        instance_free();
    Z_guest_instantiate(&instance, NULL);
    is_live = true;
    instance.w2c_memory.max_pages = max_pages;
    sl_guest_memory.data = instance.w2c_memory.data;
    sl_guest_memory.size = 0; /* so that the first call publishes it */
}

const char *
sl_engine_run(void)
{
    int trap;

    if (setjmp(leave))
        return NULL;
    instance_make();
    trap = wasm_rt_impl_try();
    if (trap)
        return wasm_rt_strerror((wasm_rt_trap_t)trap);
    wasm_rt_set_unwind_target(&wasm_rt_jmp_buf); /* a program before this one may have left its own */
    sl_signals_release(false);
    Z_guestZ__start(&instance);
    return "the program returned";
}

_Noreturn void
sl_engine_exec(void)
{
    longjmp(leave, 1);
}
