/* The guest's memory before its first instruction (engine_w2c.c maps it from the program's file). */
    .section .guest_memory, "a", @progbits
    .balign 4096
    .globl sl_guest_image, sl_guest_image_end
sl_guest_image:
    .incbin IMAGE
sl_guest_image_end:
    .section .note.GNU-stack, "", @progbits
