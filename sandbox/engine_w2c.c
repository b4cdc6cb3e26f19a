/* The guest as C code that wasm2c made of it: no engine at run time. */
#include "sandbox/engine.h"

#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "wasm-rt-impl.h"

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/process.h"
#include "sandbox/signals.h"

enum {
    HOST_PAGE = 4096,
    WASM_PAGE = 65536,
    MAX_PAGES = 65535 /* with one more, wasm2c's 32-bit size becomes 0 */
};
static const size_t reserved = (size_t)8 << 30; /* by wasm2c's runtime for each memory */

/*
 * The guest's memory as it is before its first instruction, page-aligned in this program's file (meson.build):
 * it is mapped from there, so that a start copies only pages that are written to. A page with the address
 * comes first; below and above is nothing but zeroes. Weak: a guest without it is loaded by copying.
 */
extern const uint8_t sl_guest_image[] __attribute__((weak));
extern const uint8_t sl_guest_image_end[] __attribute__((weak));

static Z_guest_instance_t instance, fresh; /* fresh: as instantiated, to begin anew with */
static bool is_live;
static uint32_t max_pages = MAX_PAGES;
static jmp_buf leave;
static int image_fd = -1;
static off_t image_at;
static size_t image_start, image_size; /* in the guest's memory */

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

/* Where in this program's file something of it lies. */
static off_t
file_offset(const void *address)
{
    const Elf64_Phdr *part = (const Elf64_Phdr *)getauxval(AT_PHDR);
    uintptr_t at = (uintptr_t)address;

    for (unsigned long n = getauxval(AT_PHNUM); part && n > 0; n--, part++) {
        if (part->p_type == PT_LOAD && at >= part->p_vaddr && at < part->p_vaddr + part->p_filesz)
            return (off_t)(at - part->p_vaddr + part->p_offset);
    }
    return -1;
}

static void
image_open(void)
{
    int fd;

    if (&sl_guest_image[0] == &sl_guest_image_end[0])
        return;
    image_at = file_offset(sl_guest_image);
    fd = image_at >= 0 ? open("/proc/self/exe", O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    image_fd = fcntl(fd, F_DUPFD_CLOEXEC, SL_GUEST_FDS);
    memcpy(&image_start, sl_guest_image, sizeof image_start);
    image_at += HOST_PAGE;
    image_size = (size_t)(sl_guest_image_end - sl_guest_image) - HOST_PAGE;
    close(fd);
}

static bool
image_map(void)
{
    return image_fd >= 0 && mmap(instance.w2c_memory.data + image_start, image_size, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_FIXED, image_fd, image_at) != MAP_FAILED;
}

/* Takes the place of memcpy in the guest's code (meson.build), which fills its memory with it. */
void *sl_engine_load(void *to, const void *from, size_t n);

void *
sl_engine_load(void *to, const void *from, size_t n)
{
    return !is_live && image_map() ? to : memcpy(to, from, n);
}

void
sl_engine_start(void)
{
    wasm_rt_init();
    Z_guest_init_module();
    image_open();
}

void
sl_engine_print_memory(void)
{
    static uint8_t head[HOST_PAGE];
    size_t start, end;
    const uint8_t *bytes;

    wasm_rt_init();
    Z_guest_init_module();
    Z_guest_instantiate(&instance, NULL);
    bytes = instance.w2c_memory.data;
    for (start = 0; !bytes[start];)
        start++;
    for (end = instance.w2c_memory.size; !bytes[end - 1];)
        end--;
    start = start / HOST_PAGE * HOST_PAGE;
    end = (end + HOST_PAGE - 1) / HOST_PAGE * HOST_PAGE;
    memcpy(head, &start, sizeof start);
    fwrite(head, 1, sizeof head, stdout);
    fwrite(bytes + start, 1, end - start, stdout);
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

/* The memory as it was before the first instruction, at the same place. */
static bool
memory_reset(void)
{
    uint8_t *memory = instance.w2c_memory.data;
    size_t used = instance.w2c_memory.size, initial = fresh.w2c_memory.size;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

    if (image_fd < 0)
        return false;
    if (used > initial && mmap(memory + initial, used - initial, PROT_NONE, flags, -1, 0) == MAP_FAILED)
        return false;
    return mmap(memory, initial, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED && image_map();
}

static void
instance_make(void)
{
    if (is_live && memory_reset()) {
        instance = fresh;
    } else {
        if (is_live)
            instance_free();
        is_live = false;
        Z_guest_instantiate(&instance, NULL);
        fresh = instance;
    }
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
