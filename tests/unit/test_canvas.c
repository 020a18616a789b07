/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_canvas.c - the drawing vocabulary: what is drawn where (pixels read back with Cairo's own PNG reader, which
 * shares no code with stb_image_write), the three formats, equal bytes for equal commands, and every way a figure can
 * fail.
 */
#include "internal.h"
#include <cairo.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h> /* needs the headers above */

static char folder[] = "/tmp/kvb_canvas_XXXXXX";

static const char *in_folder(const char *name) {
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static char *read_all(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*bytes + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *bytes, f), *bytes);
    data[*bytes] = 0;
    fclose(f);
    return data;
}

/* 0xRRGGBB at a pixel of a PNG. */
static uint32_t pixel(const char *path, int x, int y) {
    cairo_surface_t *image = cairo_image_surface_create_from_png(path);
    assert_int_equal(cairo_surface_status(image), CAIRO_STATUS_SUCCESS);
    assert_true(x < cairo_image_surface_get_width(image) && y < cairo_image_surface_get_height(image));
    const unsigned char *data = cairo_image_surface_get_data(image);
    uint32_t value;
    memcpy(&value, data + (size_t)y * (size_t)cairo_image_surface_get_stride(image) + (size_t)x * 4, 4);
    cairo_surface_destroy(image);
    return value & 0xffffff;
}

static kvb_canvas *canvas(double width, double height) {
    kvb_canvas *c;
    assert_int_equal(kvb_canvas_new(width, height, &c), KVB_OK);
    return c;
}

static void put_text(kvb_canvas *c, const char *text, double x, double y, double degrees) {
    assert_int_equal(kvb_canvas_text(c, text, (int64_t)strlen(text), x, y, 10, 0, 0x000000ff, 0, 1, degrees), KVB_OK);
}

/* Something of everything. */
static kvb_canvas *drawing(void) {
    static const uint32_t cells[6] = {0xff0000ff, 0x00ff00ff, 0x0000ffff, 0x000000ff, 0xffff00ff, 0x00ffffff};
    static const double dash[2] = {3, 2};
    kvb_canvas *c = canvas(100, 60);
    kvb_canvas_rect(c, 10, 10, 20, 20);
    kvb_canvas_fill(c, 0x336699ff, 0);
    kvb_canvas_move(c, 50, 5);
    kvb_canvas_line(c, 90, 5);
    kvb_canvas_stroke(c, 2, 0xff0000ff, NULL, 0);
    kvb_canvas_move(c, 50, 9);
    kvb_canvas_line(c, 90, 9);
    kvb_canvas_stroke(c, 1, 0x000000ff, dash, 2);
    kvb_canvas_arc(c, 20, 45, 6, 0, 360);
    kvb_canvas_close(c);
    kvb_canvas_fill(c, 0x00800080, 1);
    kvb_canvas_stroke(c, 1, 0x000000ff, NULL, 0);
    kvb_canvas_clip_push(c, 35, 10, 5, 5);
    kvb_canvas_rect(c, 30, 5, 20, 20);
    kvb_canvas_fill(c, 0x112233ff, 0);
    kvb_canvas_clip_pop(c);
    assert_int_equal(kvb_canvas_cells(c, 60, 30, 30, 20, 2, 3, cells), KVB_OK);
    put_text(c, "GER \xcf\x87 \xe2\x89\xa5 0.9", 10, 58, 0);
    put_text(c, "up", 98, 58, 90);
    return c;
}

static void test_pixels(void **state) {
    (void)state;
    kvb_canvas *c = drawing();
    const char *path = in_folder("pixels.png");
    assert_int_equal(kvb_canvas_save(c, path, 144), KVB_OK); /* 2 pixels a point */
    kvb_canvas_free(c);
    assert_int_equal(pixel(path, 0, 0), 0xffffff);
    assert_int_equal(pixel(path, 40, 40), 0x336699);
    assert_int_equal(pixel(path, 61, 40), 0xffffff); /* the square ends at x = 30 pt */
    assert_int_equal(pixel(path, 140, 10), 0xff0000);
    assert_int_equal(pixel(path, 75, 25), 0x112233); /* inside the clip */
    assert_int_equal(pixel(path, 83, 25), 0xffffff); /* drawn, but outside it */
    assert_int_equal(pixel(path, 130, 70), 0xff0000);
    assert_int_equal(pixel(path, 150, 70), 0x00ff00);
    assert_int_equal(pixel(path, 170, 70), 0x0000ff);
    assert_int_equal(pixel(path, 130, 90), 0x000000);
    assert_int_equal(pixel(path, 150, 90), 0xffff00);
    assert_int_equal(pixel(path, 170, 90), 0x00ffff);
    uint32_t blend = pixel(path, 40, 90); /* green at alpha 128/255 on white */
    assert_in_range(blend >> 16, 126, 128);
    assert_in_range(blend >> 8 & 255, 190, 192);
}

static void test_png_size_follows_dpi(void **state) {
    (void)state;
    static const struct {
        double width, height, dpi;
        int32_t w, h;
    } cases[] = {
        {244.8, 187.2, 300, 1020, 780},
        {72, 36, 72, 72, 36},
        {100, 1, 18, 25, 1},
        {1, 1, 1200, 17, 17},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvb_canvas *c = canvas(cases[i].width, cases[i].height);
        assert_int_equal(kvb_canvas_save(c, in_folder("size.png"), cases[i].dpi), KVB_OK);
        kvb_canvas_free(c);
        size_t bytes;
        char *data = read_all(in_folder("size.png"), &bytes);
        const unsigned char *header = (const unsigned char *)data;
        assert_true(bytes > 33);
        assert_memory_equal(header, "\x89PNG\r\n\x1a\n", 8);
        assert_int_equal(header[18] << 8 | header[19], cases[i].w); /* IHDR: big-endian width, height */
        assert_int_equal(header[22] << 8 | header[23], cases[i].h);
        free(data);
    }
}

static void test_same_commands_same_bytes(void **state) {
    (void)state;
    static const char *const kinds[] = {"png", "pdf", "svg"};
    for (size_t k = 0; k < 3; k++) {
        char name[2][32];
        char *data[2];
        size_t bytes[2];
        for (int i = 0; i < 2; i++) {
            snprintf(name[i], sizeof name[i], "same%d.%s", i, kinds[k]);
            kvb_canvas *c = drawing();
            assert_int_equal(kvb_canvas_save(c, in_folder(name[i]), 300), KVB_OK);
            kvb_canvas_free(c);
            data[i] = read_all(in_folder(name[i]), &bytes[i]);
        }
        assert_int_equal(bytes[0], bytes[1]);
        assert_memory_equal(data[0], data[1], bytes[0]);
        free(data[0]);
        free(data[1]);
    }
}

static void test_vector_formats(void **state) {
    (void)state;
    size_t bytes;
    kvb_canvas *c = drawing();
    assert_int_equal(kvb_canvas_save(c, in_folder("v.pdf"), 300), KVB_OK);
    assert_int_equal(kvb_canvas_save(c, in_folder("v.svg"), 300), KVB_OK);
    kvb_canvas_free(c);
    char *pdf = read_all(in_folder("v.pdf"), &bytes);
    assert_memory_equal(pdf, "%PDF-", 5);
    assert_memory_equal(pdf + bytes - 6, "%%EOF\n", 6);
    free(pdf);
    char *svg = read_all(in_folder("v.svg"), &bytes);
    assert_non_null(strstr(svg, "<svg"));
    assert_non_null(strstr(svg, "viewBox=\"0 0 100 60\""));
    assert_non_null(strstr(svg, "</svg>"));
    free(svg);
}

/* Every "#name" in an SVG must still be the id of something after renumbering. */
static void test_svg_references_resolve(void **state) {
    (void)state;
    size_t bytes;
    kvb_canvas *c = drawing();
    assert_int_equal(kvb_canvas_save(c, in_folder("ref.svg"), 300), KVB_OK);
    kvb_canvas_free(c);
    char *svg = read_all(in_folder("ref.svg"), &bytes);
    int seen = 0;
    for (char *p = svg; (p = strchr(p, '#')); p++) {
        size_t n = strcspn(p + 1, "\")");
        char id[64];
        assert_true(n > 0 && n < 40);
        snprintf(id, sizeof id, "id=\"%.*s\"", (int)n, p + 1);
        assert_non_null(strstr(svg, id));
        seen++;
    }
    assert_true(seen > 5);
    free(svg);
}

static void test_text_measure(void **state) {
    (void)state;
    double one[3], two[3], big[3], bold[3];
    assert_int_equal(kvb_text_measure("m", 1, 10, 0, one), KVB_OK);
    assert_int_equal(kvb_text_measure("mm", 2, 10, 0, two), KVB_OK);
    assert_int_equal(kvb_text_measure("m", 1, 20, 0, big), KVB_OK);
    assert_int_equal(kvb_text_measure("m", 1, 10, 1, bold), KVB_OK);
    assert_true(one[0] > 4 && one[0] < 14);
    assert_true(one[1] > 5 && one[1] < 9); /* capitals are about 0.7 of the size */
    assert_true(one[2] > 0);
    assert_true(two[0] > 1.99 * one[0] && two[0] < 2.01 * one[0]);
    assert_true(big[0] > 1.99 * one[0] && big[0] < 2.01 * one[0]);
    assert_true(bold[0] > one[0]);
    double empty[3];
    assert_int_equal(kvb_text_measure("", 0, 10, 0, empty), KVB_OK);
    assert_true(empty[0] == 0);
}

/* Ill-formed UTF-8, NUL and control characters neither stop the drawing nor the rest of the line. */
static void test_text_any_bytes(void **state) {
    (void)state;
    double dirty[3], clean[3];
    assert_int_equal(kvb_text_measure("a\0b\xff\xc3\n", 6, 10, 0, dirty), KVB_OK);
    assert_int_equal(kvb_text_measure("a b\xef\xbf\xbd\xef\xbf\xbd ", 10, 10, 0, clean), KVB_OK);
    assert_true(dirty[0] == clean[0]);
    assert_int_equal(kvb_text_measure("x", -1, 10, 0, dirty), KVB_E_ARG);
    assert_int_equal(kvb_text_measure("x", 1, 0, 0, dirty), KVB_E_ARG);
    assert_int_equal(kvb_text_measure("x", 1, 0.0 / 0.0, 0, dirty), KVB_E_ARG);
    assert_int_equal(kvb_text_measure("x", 1, 10, 0, dirty), KVB_OK); /* a refusal does not stick */
}

static void test_anchors(void **state) {
    (void)state;
    /* A full-height "I" anchored at its top left must be below and right of the point, at its baseline end above and
     * left. */
    kvb_canvas *c = canvas(60, 60);
    assert_int_equal(kvb_canvas_text(c, "HH", 2, 30, 30, 12, 1, 0x000000ff, 0, 0, 0), KVB_OK);
    assert_int_equal(kvb_canvas_save(c, in_folder("a.png"), 72), KVB_OK);
    kvb_canvas_free(c);
    int dark[4] = {0}; /* quadrants: left-top, right-top, left-bottom, right-bottom of the point */
    for (int y = 0; y < 60; y++)
        for (int x = 0; x < 60; x++)
            if ((pixel(in_folder("a.png"), x, y) & 255) < 128) dark[(x >= 30) + 2 * (y >= 30)]++;
    assert_true(dark[3] > 20 && dark[0] == 0 && dark[1] == 0 && dark[2] == 0);
    c = canvas(60, 60);
    assert_int_equal(kvb_canvas_text(c, "HH", 2, 30, 30, 12, 1, 0x000000ff, 1, 1, 0), KVB_OK);
    assert_int_equal(kvb_canvas_save(c, in_folder("b.png"), 72), KVB_OK);
    kvb_canvas_free(c);
    memset(dark, 0, sizeof dark);
    for (int y = 0; y < 60; y++)
        for (int x = 0; x < 60; x++)
            if ((pixel(in_folder("b.png"), x, y) & 255) < 128) dark[(x >= 30) + 2 * (y >= 30)]++;
    assert_true(dark[0] > 20 && dark[1] == 0 && dark[2] == 0 && dark[3] == 0);
}

static void test_sizes_refused(void **state) {
    (void)state;
    static const double bad[][2] = {{0, 10}, {10, -1}, {14401, 10}, {10, 1e300}, {0.0 / 0.0, 10}};
    kvb_canvas *c = (kvb_canvas *)&state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(kvb_canvas_new(bad[i][0], bad[i][1], &c), KVB_E_ARG);
        assert_null(c);
    }
    uint32_t cell = 0xff;
    c = canvas(14400, 14400);
    assert_int_equal(kvb_canvas_save(c, in_folder("big.png"), 300), KVB_E_ARG);
    assert_non_null(strstr(kvb_diag_message(), "pixels"));
    assert_int_equal(kvb_path_kind(in_folder("big.png")), 0);
    assert_int_equal(kvb_canvas_save(c, in_folder("x.png"), 0), KVB_E_ARG);
    assert_int_equal(kvb_canvas_save(c, in_folder("x.gif"), 72), KVB_E_ARG);
    assert_int_equal(kvb_canvas_save(c, in_folder("noextension"), 72), KVB_E_ARG);
    assert_int_equal(kvb_canvas_save(c, "/tmp/dir.png/x", 72), KVB_E_ARG);
    assert_int_equal(kvb_canvas_cells(c, 0, 0, 10, 10, 0, 1, &cell), KVB_E_ARG);
    assert_int_equal(kvb_canvas_cells(c, 0, 0, 0, 10, 1, 1, &cell), KVB_E_ARG);
    assert_int_equal(kvb_canvas_cells(c, 0, 0, 10, 10, 1, 100000, &cell), KVB_E_ARG);
    kvb_canvas_free(c);
    kvb_canvas_free(NULL);
}

static void test_unwritable(void **state) {
    (void)state;
    kvb_canvas *c = drawing();
    assert_int_equal(kvb_canvas_save(c, in_folder("no/such/folder/x.png"), 72), KVB_E_IO);
    assert_non_null(strstr(kvb_diag_message(), "no/such/folder/x.png"));
    assert_int_equal(kvb_canvas_save(c, in_folder("no/such/folder/x.svg"), 72), KVB_E_IO);
    kvb_canvas_free(c);
}

/* A disk that takes only the first bytes: an error, the old file intact, nothing left beside it. */
static void test_full_disk(void **state) {
    (void)state;
    kvb_canvas *c = drawing();
    const char *path = in_folder("full.pdf");
    assert_int_equal(kvb_file_write(path, "old", 3), KVB_OK);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 512;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    kvb_status status = kvb_canvas_save(c, path, 300);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    kvb_canvas_free(c);
    assert_int_equal(status, KVB_E_IO);
    size_t bytes;
    char *data = read_all(path, &bytes);
    assert_string_equal(data, "old");
    free(data);
    const char *names;
    assert_int_equal(kvb_dir_list(folder, &names), KVB_OK);
    assert_null(strstr(names, ".tmp"));
}

static void test_unbalanced_clip(void **state) {
    (void)state;
    kvb_canvas *c = canvas(10, 10);
    kvb_canvas_clip_pop(c);
    assert_int_equal(kvb_canvas_save(c, in_folder("clip.png"), 72), KVB_E_ARG);
    kvb_canvas_free(c);
}

static void test_fonts(void **state) {
    (void)state;
    double box[3], system_box[3];
    unsetenv("KVBENCH_FONT");
    assert_int_equal(kvb_text_measure("GER", 3, 10, 0, system_box), KVB_OK);
    setenv("KVBENCH_FONT", in_folder("nowhere"), 1);
    assert_int_equal(kvb_text_measure("x", 1, 10, 0, box), KVB_E_MISSING);
    assert_non_null(strstr(kvb_diag_message(), "nowhere"));
    assert_non_null(strstr(kvb_diag_hint(), "->"));
    kvb_canvas *c = canvas(50, 50);
    assert_int_equal(kvb_canvas_text(c, "x", 1, 1, 9, 8, 0, 255, 0, 1, 0), KVB_E_MISSING);
    kvb_canvas_free(c);
    setenv("KVBENCH_FONT", folder, 1); /* a folder without the font */
    assert_int_equal(kvb_text_measure("x", 1, 10, 0, box), KVB_E_MISSING);
    assert_int_equal(kvb_file_write(in_folder("fake.ttf"), "not a font", 10), KVB_OK);
    setenv("KVBENCH_FONT", in_folder("fake.ttf"), 1);
    assert_int_equal(kvb_text_measure("x", 1, 10, 0, box), KVB_E_FORMAT);
    const char *file = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
    if (access(file, R_OK) == 0) { /* one file, by path and by folder; no bold beside it: synthesised */
        size_t bytes;
        char *data = read_all(file, &bytes);
        assert_int_equal(kvb_file_write(in_folder("DejaVuSans.ttf"), data, (int64_t)bytes), KVB_OK);
        free(data);
        setenv("KVBENCH_FONT", folder, 1);
        assert_int_equal(kvb_text_measure("GER", 3, 10, 0, box), KVB_OK);
        assert_true(box[0] == system_box[0]);
        assert_int_equal(kvb_text_measure("GER", 3, 10, 1, box), KVB_OK);
    }
    unsetenv("KVBENCH_FONT");
    assert_int_equal(kvb_text_measure("x", 1, 10, 0, box), KVB_OK);
}

static kvb_status draw_and_save(const char *path) {
    kvb_canvas *c;
    static const uint32_t cells[2] = {0xff0000ff, 0x00ff00ff};
    KVB_TRY(kvb_canvas_new(40, 40, &c));
    kvb_status status = kvb_canvas_cells(c, 5, 5, 30, 30, 1, 2, cells);
    if (status == KVB_OK) status = kvb_canvas_text(c, "x", 1, 10, 10, 8, 0, 255, 0, 1, 0);
    if (status == KVB_OK) status = kvb_canvas_save(c, path, 72);
    kvb_canvas_free(c);
    return status;
}

/* Every allocation fails once: an error each time, and as many bytes live afterwards as before. */
static void test_allocation_failures(void **state) {
    (void)state;
    static const char *const names[] = {"oom.png", "oom.pdf", "oom.svg"};
    for (size_t k = 0; k < 3; k++) {
        const char *path = in_folder(names[k]);
        assert_int_equal(draw_and_save(path), KVB_OK);
        int64_t before = kvb_memory_bytes(KVB_MEM_ALL), n = 1;
        for (;; n++) {
            assert_true(n < 1000);
            kvb_memory_fail_nth(n);
            kvb_status status = draw_and_save(path);
            kvb_memory_fail_nth(0);
            assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
            if (status == KVB_OK) break;
            assert_int_equal(status, KVB_E_MEMORY);
        }
        assert_true(n > 3);
    }
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pixels),
        cmocka_unit_test(test_png_size_follows_dpi),
        cmocka_unit_test(test_same_commands_same_bytes),
        cmocka_unit_test(test_vector_formats),
        cmocka_unit_test(test_svg_references_resolve),
        cmocka_unit_test(test_text_measure),
        cmocka_unit_test(test_text_any_bytes),
        cmocka_unit_test(test_anchors),
        cmocka_unit_test(test_sizes_refused),
        cmocka_unit_test(test_unwritable),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_unbalanced_clip),
        cmocka_unit_test(test_fonts),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests_name("canvas", tests, make_folder, remove_folder);
}
