/*
 * The program itself: its name in messages, and its path for starting it again.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

/*
 * To be called first, with the word by which the program was started, which
 * must stay valid.
 */
void program_remember(const char *word);

/* The path of the program, for execv(3). */
const char *program_path(void);

/* The name that err(3) and warn(3) print. It must stay valid. */
void program_set_name(char *name);
const char *program_name(void);

#endif
