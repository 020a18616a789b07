/* SPDX-License-Identifier: Apache-2.0 */
/* test_platform.c - files that are written whole or not at all, folders, hashing, threads, cancelling. */
#include "internal.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/kvb_platform_XXXXXX";
static const char *in_folder(const char *name) {
    static char path[4][256];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static int make_folder(void **unused) {
    (void)unused;
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **unused) {
    (void)unused;
    char command[300];
    snprintf(command, sizeof command, "chmod -R u+rwx '%s'; rm -rf '%s'", folder, folder);
    return system(command);
}

static void expect_content(const char *path, const char *content, size_t n) {
    char buffer[64];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(buffer, 1, sizeof buffer, f), n);
    fclose(f);
    assert_memory_equal(buffer, content, n);
}

static void expect_names(const char *expected) {
    const char *names = NULL;
    assert_int_equal(kvb_dir_list(folder, &names), KVB_OK);
    assert_string_equal(names, expected);
}

static void written_whole_or_not_at_all(void **unused) {
    (void)unused;
    const char *path = in_folder("file");
    assert_int_equal(kvb_file_write(path, "old", 3), KVB_OK);
    expect_content(path, "old", 3);
    assert_int_equal(kvb_file_write(path, "a\0b\n", 4), KVB_OK);
    expect_content(path, "a\0b\n", 4);
    assert_int_equal(kvb_file_write(path, NULL, 0), KVB_OK);
    expect_content(path, "", 0);
    expect_names("file\n"); /* no temporary is left */
    unlink(path);
}

static void what_is_no_file_stays(void **unused) {
    (void)unused;
    struct stat before, after;
    assert_int_equal(stat("/dev/full", &before), 0);
    assert_int_equal(kvb_file_write("/dev/full", "x", 1), KVB_E_IO);
    assert_non_null(strstr(kvb_diag_message(), "'/dev/full'"));
    assert_int_equal(stat("/dev/full", &after), 0);
    assert_true(S_ISCHR(after.st_mode));
    assert_true(before.st_ino == after.st_ino && before.st_rdev == after.st_rdev);
    const char *pipe_path = in_folder("pipe"), *dir = in_folder("dir");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(kvb_file_write(pipe_path, "x", 1), KVB_E_IO);
    assert_int_equal(stat(pipe_path, &after), 0);
    assert_true(S_ISFIFO(after.st_mode));
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(kvb_file_write(dir, "x", 1), KVB_E_IO);
    assert_non_null(strstr(kvb_diag_message(), "folder"));
    expect_names("dir/\npipe\n");
    unlink(pipe_path);
    rmdir(dir);
}

static void unwritable_places(void **unused) {
    (void)unused;
    assert_int_equal(kvb_file_write(in_folder("none/file"), "x", 1), KVB_E_IO);
    assert_non_null(strstr(kvb_diag_message(), "none/file"));
    assert_true(strlen(kvb_diag_hint()) > 0);
    assert_int_equal(kvb_file_write("/proc/kvb_none", "x", 1), KVB_E_IO);
    assert_int_equal(kvb_file_write("", "x", 1), KVB_E_IO);
    char *longer = malloc(6000);
    memset(longer, 'a', 5999);
    longer[5999] = 0;
    assert_int_equal(kvb_file_write(longer, "x", 1), KVB_E_ARG);
    free(longer);
    if (geteuid() != 0) { /* root writes anywhere */
        const char *dir = in_folder("closed"), *file = in_folder("closed/file");
        assert_int_equal(mkdir(dir, 0700), 0);
        assert_int_equal(kvb_file_write(file, "old", 3), KVB_OK);
        assert_int_equal(chmod(dir, 0500), 0);
        assert_int_equal(kvb_file_write(file, "new", 3), KVB_E_IO);
        expect_content(file, "old", 3);
        chmod(dir, 0700);
        unlink(file);
        rmdir(dir);
    }
    expect_names("");
}

static void folders(void **unused) {
    (void)unused;
    assert_int_equal(kvb_path_kind(in_folder("a")), 0);
    assert_int_equal(kvb_dir_make(in_folder("a/b//c/")), KVB_OK);
    assert_int_equal(kvb_dir_make(in_folder("a/b/c")), KVB_OK); /* exists */
    assert_int_equal(kvb_path_kind(in_folder("a/b/c")), 2);
    assert_int_equal(kvb_file_write(in_folder("a/file"), "x", 1), KVB_OK);
    assert_int_equal(kvb_path_kind(in_folder("a/file")), 1);
    assert_int_equal(kvb_dir_make(in_folder("a/file")), KVB_E_IO);
    assert_int_equal(kvb_dir_make(in_folder("a/file/sub")), KVB_E_IO);
    assert_int_equal(kvb_dir_make(""), KVB_E_ARG);
    const char *names;
    assert_int_equal(kvb_dir_list(in_folder("none"), &names), KVB_E_IO);
    assert_int_equal(kvb_dir_list(in_folder("a/file"), &names), KVB_E_IO);
    for (int i = 0; i < 150; i++) { /* more than one round of growth */
        char name[32];
        snprintf(name, sizeof name, "a/b/n%03d", (i * 61) % 150);
        assert_int_equal(kvb_file_write(in_folder(name), "", 0), KVB_OK);
    }
    assert_int_equal(kvb_dir_list(in_folder("a/b"), &names), KVB_OK);
    assert_int_equal(strncmp(names, "c/\nn000\nn001\n", 13), 0);
    int lines = 0;
    for (const char *p = names; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, 151);
    assert_string_equal(names + strlen(names) - 5, "n149\n");
}

/* A folder listing that ran out of memory must not look like a shorter folder. */
static void listing_never_lies(void **unused) {
    (void)unused;
    const char *names;
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    for (int64_t n = 1; n < 400; n++) {
        kvb_memory_fail_nth(n);
        kvb_status status = kvb_dir_list(in_folder("a/b"), &names);
        kvb_memory_fail_nth(0);
        int lines = 0;
        if (status == KVB_OK)
            for (const char *p = names; *p; p++) lines += *p == '\n';
        assert_true(status == KVB_E_MEMORY || lines == 151);
        assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
    }
}

static void hashing(void **unused) {
    (void)unused;
    unsigned char data[64];
    for (int i = 0; i < 64; i++) data[i] = (unsigned char)(i * 37 + 11);
    uint64_t seen[64];
    for (int n = 0; n < 64; n++) {
        seen[n] = kvb_hash64(data, n, 0);
        assert_true(seen[n] == kvb_hash64(data, n, 0));
        assert_true(seen[n] != kvb_hash64(data, n, 1));
        for (int m = 0; m < n; m++) assert_true(seen[m] != seen[n]);
    }
    for (int bit = 0; bit < 64 * 8; bit++) { /* every bit matters */
        data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_true(kvb_hash64(data, 64, 0) != kvb_hash64("", 0, 0));
        uint64_t changed = kvb_hash64(data, 64, 0);
        data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_true(changed != kvb_hash64(data, 64, 0));
    }
    unsigned char shifted[65];
    memcpy(shifted + 1, data, 64); /* unaligned input, same bytes */
    assert_true(kvb_hash64(shifted + 1, 64, 3) == kvb_hash64(data, 64, 3));
    unsigned char zeros[24] = {0};
    assert_true(kvb_hash64(zeros, 8, 0) != kvb_hash64(zeros, 16, 0));
}

static void threads(void **unused) {
    (void)unused;
    assert_int_equal(kvb_threads_set(1), KVB_OK);
    assert_int_equal(kvb_threads(), 1);
    assert_int_equal(kvb_threads_set(100000), KVB_E_ARG);
    assert_int_equal(kvb_threads(), 1); /* unchanged */
    assert_int_equal(kvb_threads_set(-1), KVB_E_ARG);
    assert_int_equal(kvb_threads_set(0), KVB_OK);
    assert_true(kvb_threads() >= 1);
}

static void cancelling(void **unused) {
    (void)unused;
    kvb_cancel_reset();
    assert_int_equal(kvb_cancelled(), 0);
    kvb_cancel();
    assert_int_equal(kvb_cancelled(), 1);
    kvb_cancel_reset();
    assert_int_equal(kvb_cancelled(), 0);
}

static void facts(void **unused) {
    (void)unused;
    assert_int_equal(kvb_abi_version(), KVB_ABI_VERSION);
    assert_int_equal(kvb_sizeof("kvb_tensor"), sizeof(kvb_tensor));
    assert_int_equal(kvb_sizeof("kvb_request"), sizeof(kvb_request));
    assert_int_equal(kvb_sizeof("none"), -1);
    double a = kvb_time(), b = kvb_time();
    assert_true(b >= a);
    assert_true(kvb_process_peak_bytes() > 100000);
    assert_true(strlen(kvb_cpu_tier()) > 0 && strlen(kvb_cpu_name()) > 0 && strlen(kvb_version()) > 0);
    int fd = open("/dev/null", O_RDONLY);
    assert_int_equal(kvb_terminal_width(fd), 0);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_whole_or_not_at_all),
        cmocka_unit_test(what_is_no_file_stays),
        cmocka_unit_test(unwritable_places),
        cmocka_unit_test(folders),
        cmocka_unit_test(listing_never_lies),
        cmocka_unit_test(hashing),
        cmocka_unit_test(threads),
        cmocka_unit_test(cancelling),
        cmocka_unit_test(facts),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
