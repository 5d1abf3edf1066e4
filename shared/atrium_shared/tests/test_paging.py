import pytest

from atrium_shared.paging import (
    PageSizeInvalid,
    PageTokenInvalid,
    cursor_number,
    cursor_sequence,
    cursor_time,
    decode_page_cursor,
    decode_page_token,
    encode_page_token,
    page_size,
)


@pytest.mark.parametrize("cursor", ["users/lin", "林悦", "", "a" * 500])
def test_a_token_gives_back_its_cursor(cursor):
    assert decode_page_token(encode_page_token(cursor, "acme/users"), "acme/users") == cursor


def test_the_empty_token_starts_at_the_beginning():
    assert decode_page_token("", "anything") == ""


@pytest.mark.parametrize(
    "spoil", [lambda t: t[:-2], lambda t: "x" + t, lambda t: "!!!", lambda t: "页"]
)
def test_an_altered_token_is_refused(spoil):
    token = encode_page_token("users/lin", "acme/users")
    with pytest.raises(PageTokenInvalid) as caught:
        decode_page_token(spoil(token), "acme/users")
    assert (caught.value.reason, caught.value.field) == ("PAGE_TOKEN_INVALID", "page_token")


def test_a_token_of_another_request_is_refused():
    with pytest.raises(PageTokenInvalid):
        decode_page_token(encode_page_token("users/lin", "acme/users"), "globex/users")


def test_page_sizes_have_a_default_and_a_maximum():
    assert [page_size(n) for n in (0, 7, 5000)] == [100, 7, 1000]


def test_a_negative_page_size_is_refused():
    with pytest.raises(PageSizeInvalid) as caught:
        page_size(-1)
    assert (caught.value.reason, caught.value.field) == ("PAGE_SIZE_INVALID", "page_size")


@pytest.mark.parametrize(
    ("read", "cursor"),
    [
        (cursor_number, "7a"),
        (cursor_number, "-1"),
        (cursor_number, "٣"),
        (cursor_number, "9" * 30),
        (cursor_number, "9" * 5000),
        (cursor_number, str(2**31)),
        (cursor_sequence, str(2**63)),
        (cursor_time, "yesterday"),
        (cursor_time, "2026-01-01T00:00:00"),
        (cursor_time, "0001-01-01T00:00:00+14:00"),
        (str, "a\0b"),
    ],
)
def test_a_forged_cursor_is_refused(read, cursor):
    with pytest.raises(PageTokenInvalid):
        decode_page_cursor(encode_page_token(cursor, "acme"), "acme", read)


def test_a_cursor_is_read_as_what_it_stands_for():
    assert decode_page_cursor(encode_page_token("17", "acme"), "acme", cursor_number) == 17
    assert decode_page_cursor("", "acme", cursor_number) is None
