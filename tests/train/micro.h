/* A micro X-CLIP (width 64, 2 blocks, 3 frames of 20 pixels in patches of 10) and a dataset for it,
 * made anew in each test's folder: train.h5 with 27 videos, test.h5 with 9, of 4 classes in 2
 * families or none, merges.txt. With batches of 2 and 2 a step an epoch has 6 steps, a micro-batch
 * and a video left. */
#ifndef CROSSFRAME_TESTS_MICRO_H
#define CROSSFRAME_TESTS_MICRO_H

#include "../test.h"

#include "crossframe/train.h"

enum { MICRO_CLASSES = 4, MICRO_TRAIN = 27, MICRO_TEST = 9, MICRO_STEPS = 6 };
extern const char *const micro_class[MICRO_CLASSES];

/* A new folder with the data; the caller gives it to test_folder_remove. */
char *micro_folder(bool families);
/* The configuration, written to FOLDER/NAME.yaml too: OUTPUT is FOLDER/NAME. more: further
 * "KEY=VALUE"s, NULL at the end. */
cf_config *micro_config(const char *folder, const char *name, const char *const *more);

/* Trains to the end, or until `stop_after` steps (0: the end). Frees c. */
cf_status micro_train(cf_config *c, int64_t stop_after);
/* Trains FOLDER/NAME whole and asserts that it went well. */
void micro_train_whole(const char *folder, const char *name, const char *const *more);

/* Every tensor of two checkpoints has the same bits. */
void assert_same_tensors(const char *a, const char *b);
/* The lines of two logs are the same up to their times. */
void assert_same_log(const char *a, const char *b);

/* Runs the program with these arguments (NULL at the end), its stderr into *err (cf_free). tamper:
 * called in the child first; NULL: none. signal_after: text on stderr after which it gets SIGINT;
 * NULL: never. The exit status, 1000 + N for signal N. */
int micro_program(char **err, const char *const *argv, void (*tamper)(void),
                  const char *signal_after);
/* Skips the test aloud where the program is not built. */
void micro_need_program(void);
/* Non-empty lines in a text. */
size_t micro_lines(const char *text);

#endif
