/* A temporary folder as a cmocka fixture, of each test or of the whole program: `folder`; and
 * `path`, the file FOLDER_FILE in it, where that is defined before. */
#ifndef CROSSFRAME_TEST_IN_FOLDER_H
#define CROSSFRAME_TEST_IN_FOLDER_H

#include "test.h"

static char *folder;
#ifdef FOLDER_FILE
static char *path;
#endif

static int folder_setup(void **state)
{
    (void)state;
    folder = test_folder_new();
#ifdef FOLDER_FILE
    path = test_path(folder, FOLDER_FILE);
#endif
    return 0;
}

static int folder_teardown(void **state)
{
    (void)state;
#ifdef FOLDER_FILE
    cf_free(path);
#endif
    test_folder_remove(folder);
    return 0;
}

#endif
