/*
 * setjmp and longjmp as LLVM 14 lowers them to wasm exceptions: each function that calls setjmp keeps a table
 * of (id of the jmp_buf, label), made with malloc and ended by an entry with id 0.
 */
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>

#include "runtime.h"

typedef struct Entry {
    uintptr_t id;
    int label;
} Entry;

static int second_result;

void setTempRet0(int value);
int getTempRet0(void);
Entry *saveSetjmp(uintptr_t *env, int label, Entry *table, int size);
int testSetjmp(uintptr_t id, Entry *table, int size);
__attribute__((noreturn)) void __wasm_longjmp(void *env, int value);

void
setTempRet0(int value)
{
    second_result = value;
}

int
getTempRet0(void)
{
    return second_result;
}

Entry *
saveSetjmp(uintptr_t *env, int label, Entry *table, int size)
{
    static unsigned last_id;
    int i = 0;

    /* A shell's loop may make no system call, but it passes here. */
    sl_signals_poll();

    *env = ++last_id;
    while (i < size && table[i].id)
        i++;
    if (i == size) {
        size *= 2;
        table = realloc(table, sizeof *table * (size + 1));
        if (!table)
            __builtin_trap();
    }
    table[i] = (Entry){ last_id, label };
    table[i + 1].id = 0;
    setTempRet0(size);
    return table;
}

int
testSetjmp(uintptr_t id, Entry *table, int size)
{
    for (int i = 0; i < size && table[i].id; i++) {
        if (table[i].id == id)
            return table[i].label;
    }
    return 0;
}

__attribute__((noreturn)) void
__wasm_longjmp(void *env, int value)
{
    static struct {
        void *env;
        int value;
    } jump;

    jump.env = env;
    jump.value = value ? value : 1;
    __builtin_wasm_throw(1, &jump);
}
