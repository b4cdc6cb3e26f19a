/* The guest starts in guest/start.c. */
