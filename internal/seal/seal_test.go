package seal_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/seal"
)

func keyOf(b byte) []byte { return bytes.Repeat([]byte{b}, seal.KeySize) }

func ring(t *testing.T, keys ...[]byte) *seal.Ring {
	t.Helper()
	r, err := seal.New(keys...)
	require.NoError(t, err)
	return r
}

func TestWhatIsSealedOpensForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOf(1))
	for _, plain := range []string{"", "s3cret", "\x00\xff"} {
		sealed := r.Seal([]byte(plain), "ws_a", "trg_1")
		if plain != "" {
			require.NotContains(t, string(sealed), plain)
		}
		got, err := r.Open(sealed, "ws_a", "trg_1")
		require.NoError(t, err)
		require.Equal(t, plain, string(got))
		for _, other := range [][]string{{"ws_b", "trg_1"}, {"ws_a", "trg_2"}, {"ws_a"}, {}, {"ws_at", "rg_1"}, {"ws_a", "trg_1", ""}} {
			_, err := r.Open(sealed, other...)
			require.ErrorIs(t, err, seal.ErrBroken, other)
		}
	}
}

func TestTheSameSecretNeverLooksTheSame(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOf(1))
	one, other := r.Seal([]byte("s3cret"), "a"), r.Seal([]byte("s3cret"), "a")
	require.NotEqual(t, one, other)
}

func TestAnyChangeIsNoticed(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOf(1))
	sealed := r.Seal([]byte("s3cret"), "a")
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err := r.Open(changed, "a")
		require.Error(t, err, "byte %d", i)
	}
	for n := range sealed {
		_, err := r.Open(sealed[:n], "a")
		require.Error(t, err, "the first %d bytes", n)
	}
	_, err := r.Open(nil, "a")
	require.ErrorIs(t, err, seal.ErrBroken)
}

func TestKeysCanBeReplaced(t *testing.T) {
	t.Parallel()
	before := ring(t, keyOf(1))
	sealed := before.Seal([]byte("s3cret"), "a")
	require.False(t, before.Stale(sealed))

	during := ring(t, keyOf(2), keyOf(1))
	got, err := during.Open(sealed, "a")
	require.NoError(t, err)
	require.Equal(t, "s3cret", string(got))
	require.True(t, during.Stale(sealed))
	again := during.Seal(got, "a")
	require.False(t, during.Stale(again))
	_, err = before.Open(again, "a")
	require.ErrorIs(t, err, seal.ErrUnknownKey)

	after := ring(t, keyOf(2))
	_, err = after.Open(sealed, "a")
	require.ErrorIs(t, err, seal.ErrUnknownKey)
	got, err = after.Open(again, "a")
	require.NoError(t, err)
	require.Equal(t, "s3cret", string(got))
}

func TestNewRefusesWhatIsNoKey(t *testing.T) {
	t.Parallel()
	_, err := seal.New()
	require.Error(t, err)
	_, err = seal.New(keyOf(1), []byte("s3cret"))
	require.ErrorContains(t, err, "key 2 has 6 bytes")
	require.NotContains(t, err.Error(), "s3cret")
}

func TestTokensProveTheirParts(t *testing.T) {
	t.Parallel()
	older, newer := ring(t, keyOf(1)), ring(t, keyOf(2), keyOf(1))
	token := older.Token("link", "run_1")
	require.Len(t, token, seal.TokenSize)
	require.Equal(t, token, older.Token("link", "run_1"), "it need not be kept")
	require.True(t, older.Check(token, "link", "run_1"))
	require.True(t, newer.Check(token, "link", "run_1"), "older keys count")
	require.False(t, ring(t, keyOf(2)).Check(token, "link", "run_1"))
	require.NotEqual(t, token, newer.Token("link", "run_1"))
	require.False(t, older.Check(newer.Token("link", "run_1"), "link", "run_1"))
	for _, parts := range [][]string{{"link", "run_2"}, {"linkrun_1"}, {"link"}, {"link", "run_1", ""}, {"lin", "krun_1"}, {}} {
		require.False(t, older.Check(token, parts...), parts)
	}
	for i := range token {
		changed := bytes.Clone(token)
		changed[i] ^= 1
		require.False(t, older.Check(changed, "link", "run_1"), "byte %d", i)
	}
	require.False(t, older.Check(nil, "link", "run_1"))
	require.False(t, older.Check(token[:16], "link", "run_1"))
}
