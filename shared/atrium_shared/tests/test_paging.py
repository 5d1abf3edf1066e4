import pytest

from atrium_shared.paging import (
    PageSizeInvalid,
    PageTokenInvalid,
    decode_page_token,
    encode_page_token,
    page_size,
)


@pytest.mark.parametrize("cursor", ["users/lin", "林悦", "", "a" * 500])
def test_a_token_gives_back_its_cursor(cursor):
    assert decode_page_token(encode_page_token(cursor, "acme/users"), "acme/users") == cursor


def test_the_empty_token_starts_at_the_beginning():
    assert decode_page_token("", "anything") == ""


@pytest.mark.parametrize("spoil", [lambda t: t[:-2], lambda t: "x" + t, lambda t: "!!!"])
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
