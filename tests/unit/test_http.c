/* SPDX-License-Identifier: Apache-2.0 */
/* test_http.c - what needs no server: refusals, an unreachable port, a server that says nothing, cancelling. The rest
 * is tests/e2e/generate_test.lua. no valgrind: libcurl's TLS library reports leaks of its own */
#include "internal.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int32_t status;
static double retry_after;
static const char *text;
static int64_t bytes;

static kvb_status post(const char *url, double seconds) {
    return kvb_http_post(url, "KVB_TEST_KEY", "{}", 2, seconds, 1000, &status, &retry_after, &text, &bytes);
}

/* A socket that accepts connections into its queue and never answers; *port is where. */
static int silent_server(char *url, size_t room) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, n), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    snprintf(url, room, "http://127.0.0.1:%d/v1?secret=1", ntohs(address.sin_port));
    return fd;
}

static void refusals(void **state) {
    (void)state;
    assert_int_equal(post("file:///etc/passwd", 1), KVB_E_ARG);
    assert_int_equal(post("127.0.0.1:80", 1), KVB_E_ARG);
    assert_int_equal(post("http://127.0.0.1:1/x", 0), KVB_E_ARG);
    if (!kvb_http_available()) {
        assert_int_equal(post("http://127.0.0.1:1/x", 1), KVB_E_UNSUPPORTED);
        skip();
    }
    setenv("KVB_TEST_KEY", "s3cr3t-value", 1);
    assert_int_equal(post("http://127.0.0.1:1/x", 1), KVB_E_IO);
    assert_non_null(strstr(kvb_diag_message(), "http://127.0.0.1:1/x"));
    assert_null(strstr(kvb_diag_message(), "s3cr3t"));
    setenv("KVB_TEST_KEY", "two\r\nX-Evil: lines", 1);
    assert_int_equal(post("http://127.0.0.1:1/x", 1), KVB_E_ARG);
    assert_null(strstr(kvb_diag_message(), "Evil"));
    unsetenv("KVB_TEST_KEY");
}

static void a_silent_server_costs_the_timeout_only(void **state) {
    (void)state;
    if (!kvb_http_available()) skip();
    char url[64];
    int fd = silent_server(url, sizeof url);
    double from = kvb_time();
    assert_int_equal(post(url, 0.4), KVB_E_IO);
    assert_true(kvb_time() - from < 5);
    assert_non_null(strstr(kvb_diag_message(), "did not answer within 0.4 s"));
    assert_null(strstr(kvb_diag_message(), "secret"));
    kvb_cancel();
    from = kvb_time();
    assert_int_equal(post(url, 30), KVB_E_CANCELLED);
    assert_true(kvb_time() - from < 5);
    kvb_cancel_reset();
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(a_silent_server_costs_the_timeout_only),
    };
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
