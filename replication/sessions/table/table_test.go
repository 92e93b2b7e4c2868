package table

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// desk is a table that a test talks to in one operation after the other. Session 1 has the nonce 7.
type desk struct {
	*Table
	t        *testing.T
	executed []string // op-number and operation
	runs     []int
}

func newDesk(t *testing.T, options Options) *desk {
	require.NoError(t, options.Validate())
	d := &desk{Table: New(options), t: t}
	require.Equal(t, Result{Status: StatusRegistered, Session: 1, Window: d.options.WindowMax}, d.one(Register(7)))
	return d
}

func (d *desk) execute(first uint64, operations [][]byte) [][]byte {
	d.runs = append(d.runs, len(operations))
	replies := make([][]byte, len(operations))
	for i, operation := range operations {
		d.executed = append(d.executed, fmt.Sprintf("%d %s", first+uint64(i), operation))
		replies[i] = []byte(strings.ToUpper(string(operation)))
	}
	return replies
}

func (d *desk) batch(operations ...[]byte) []Result {
	d.t.Helper()
	answers, err := d.Apply(d.applied+1, operations, d.execute)
	require.NoError(d.t, err)
	require.Len(d.t, answers, len(operations))
	results := make([]Result, len(answers))
	for i, answer := range answers {
		var ok bool
		results[i], ok = ReadResult(answer)
		require.True(d.t, ok, "%x", answer)
	}
	return results
}

func (d *desk) one(operation []byte) Result {
	d.t.Helper()
	return d.batch(operation)[0]
}

// ask is a request of session 1.
func ask(number, acknowledged uint64, operation string) []byte {
	return Request{Session: 1, Nonce: 7, Number: number, Acknowledged: acknowledged, Operation: []byte(operation)}.Encode()
}

func done(op uint64, reply string) Result {
	return Result{Status: StatusExecuted, Op: op, Reply: []byte(reply)}
}

func TestRulesOfARequest(t *testing.T) {
	other := func(session, nonce uint64) []byte {
		return Request{Session: session, Nonce: nonce, Number: 1, Operation: []byte("x")}.Encode()
	}
	for name, test := range map[string]struct {
		operations [][]byte // from 2
		last       Result
		executed   int
	}{
		"fresh":                           {[][]byte{ask(1, 0, "a")}, done(2, "A"), 1},
		"copy":                            {[][]byte{ask(1, 0, "a"), ask(1, 1, "a")}, done(2, "A"), 1},
		"out of order":                    {[][]byte{ask(4, 1, "d"), ask(2, 1, "b"), ask(1, 1, "a"), ask(4, 1, "d")}, done(2, "D"), 3},
		"the window's last number":        {[][]byte{ask(4, 1, "d")}, done(2, "D"), 1},
		"above the window":                {[][]byte{ask(5, 1, "e")}, Result{Status: StatusAboveWindow, Lowest: 1}, 0},
		"far above":                       {[][]byte{ask(math.MaxUint64, 1, "e")}, Result{Status: StatusAboveWindow, Lowest: 1}, 0},
		"the end of all numbers":          {[][]byte{ask(math.MaxUint64, math.MaxUint64, "z")}, done(2, "Z"), 1},
		"room by an acknowledgement":      {[][]byte{ask(5, 2, "e")}, done(2, "E"), 1},
		"room by another's":               {[][]byte{ask(3, 3, "c"), ask(6, 1, "f")}, done(3, "F"), 2},
		"a refused one makes room":        {[][]byte{ask(9, 2, "i"), ask(5, 1, "e")}, done(3, "E"), 1},
		"below the window":                {[][]byte{ask(1, 1, "a"), ask(2, 2, "b"), ask(1, 1, "a")}, Result{Status: StatusBelowWindow, Lowest: 2}, 2},
		"below, never executed":           {[][]byte{ask(3, 3, "c"), ask(2, 0, "b")}, Result{Status: StatusBelowWindow, Lowest: 3}, 1},
		"an older acknowledgement":        {[][]byte{ask(3, 3, "c"), ask(4, 1, "d"), ask(7, 1, "g")}, Result{Status: StatusAboveWindow, Lowest: 3}, 2},
		"a far jump":                      {[][]byte{ask(1, 1, "a"), ask(1000, 999, "x"), ask(1000, 999, "x")}, done(3, "X"), 2},
		"empty":                           {[][]byte{ask(1, 1, ""), ask(1, 1, "")}, Result{Status: StatusExecuted, Op: 2, Reply: []byte{}}, 1},
		"no such session":                 {[][]byte{other(2, 7)}, Result{Status: StatusSessionDropped}, 0},
		"another's session":               {[][]byte{other(1, 8)}, Result{Status: StatusSessionDropped}, 0},
		"number 0":                        {[][]byte{ask(0, 0, "a")}, Result{Status: StatusMalformed}, 0},
		"acknowledged above itself":       {[][]byte{ask(2, 3, "a")}, Result{Status: StatusMalformed}, 0},
		"nothing":                         {[][]byte{nil}, Result{Status: StatusMalformed}, 0},
		"another version":                 {[][]byte{append([]byte{2}, ask(1, 0, "a")[1:]...)}, Result{Status: StatusMalformed}, 0},
		"another kind":                    {[][]byte{{1, 3}}, Result{Status: StatusMalformed}, 0},
		"cut short":                       {[][]byte{ask(1, 0, "")[:requestHeaderBytes-1]}, Result{Status: StatusMalformed}, 0},
		"a Register with something after": {[][]byte{append(Register(1), 0)}, Result{Status: StatusMalformed}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, Options{WindowMax: 4})
			for _, operation := range test.operations[:len(test.operations)-1] {
				d.one(operation)
			}
			require.Equal(t, test.last, d.one(test.operations[len(test.operations)-1]))
			require.Len(t, d.executed, test.executed)
			together := newDesk(t, Options{WindowMax: 4})
			results := together.batch(test.operations...)
			require.Equal(t, test.last, results[len(results)-1], "in one batch")
			require.Equal(t, d.executed, together.executed)
			require.Equal(t, frozenBytes(d.Freeze()), frozenBytes(together.Freeze()))
		})
	}
}

// TestRunsGoToTheMachineTogether, each with the op-number that the log gave its first.
func TestRunsGoToTheMachineTogether(t *testing.T) {
	d := newDesk(t, Options{WindowMax: 4})
	d.batch(
		ask(1, 1, "a"), ask(2, 1, "b"), // 2, 3
		ask(1, 1, "a"),                                 // a copy of what is executed in the same batch
		ask(3, 3, "c"), ask(4, 3, "d"), ask(6, 3, "f"), // 5, 6, 7
		Register(9),         // 8
		ask(7, 7, "g"), nil, // 9
		ask(8, 8, "h"), ask(9, 8, "i"), // 11, 12
		ask(12, 12, "l"), // 13: a whole window above what the batch began with
	)
	require.Equal(t, []string{"2 a", "3 b", "5 c", "6 d", "7 f", "9 g", "11 h", "12 i", "13 l"}, d.executed)
	require.Equal(t, []int{2, 2, 1, 1, 2, 1}, d.runs, "number 6 has no room before number 3's acknowledgement is settled")
}

func TestTheSessionUsedLongestAgoIsDropped(t *testing.T) {
	d := newDesk(t, Options{SessionsMax: 3})
	d.batch(Register(8), Register(9)) // 2, 3
	d.one(ask(1, 1, "a"))
	require.Equal(t, StatusRegistered, d.one(Register(10)).Status) // drops 2
	of := func(session, nonce uint64) Status {
		return d.one(Request{Session: session, Nonce: nonce, Number: 1, Operation: []byte("x")}.Encode()).Status
	}
	require.Equal(t, StatusSessionDropped, of(2, 8))
	require.Equal(t, StatusExecuted, of(3, 9))
	require.Equal(t, done(4, "A"), d.one(ask(1, 1, "a")), "a copy is a use")
	require.Equal(t, StatusSessionDropped, of(3, 10), "another's attempt is none")
	d.one(Register(11)) // drops 5, which was registered and never used
	require.Equal(t, StatusSessionDropped, of(5, 10))
	require.Equal(t, StatusExecuted, of(3, 9))
	require.Equal(t, uint64(2), d.Counts().SessionsDropped)
	require.Equal(t, uint64(3), d.Counts().Sessions)
}

func TestReplyBytesAreBounded(t *testing.T) {
	d := newDesk(t, Options{SessionReplyBytesMax: 40, ReplyBytesMax: 60})
	require.Equal(t, StatusExecuted, d.one(ask(1, 1, strings.Repeat("a", 31))).Status)
	require.Equal(t, Result{Status: StatusReplyDropped, Op: 2}, d.one(ask(1, 1, "")), "larger than all that may be kept")
	d.batch(ask(2, 1, "bbbbb"), ask(3, 1, "ccccc"), ask(4, 1, "ddddd"))
	require.Equal(t, Result{Status: StatusReplyDropped, Op: 4}, d.one(ask(2, 1, "")), "the one executed first goes first")
	require.Equal(t, done(5, "CCCCC"), d.one(ask(3, 1, "")))
	require.Equal(t, uint64(30), d.Counts().ReplyBytes)
	d.batch(Register(8), Request{Session: 9, Nonce: 8, Number: 1, Operation: bytes.Repeat([]byte("z"), 25)}.Encode())
	require.Equal(t, Result{Status: StatusReplyDropped, Op: 5}, d.one(ask(3, 1, "")), "of all, those of the session used longest ago")
	require.Equal(t, done(6, "DDDDD"), d.one(ask(4, 1, "")))
	d.one(ask(5, 5, ""))
	require.Equal(t, uint64(10+35), d.Counts().ReplyBytes, "what is acknowledged is not kept")
	require.Len(t, d.executed, 6, "nothing was executed twice for it")
}

func TestBrokenContractsStopTheTable(t *testing.T) {
	for name, broken := range map[string]func(d *desk) error{
		"the same operations again": func(d *desk) error { _, err := d.Apply(1, [][]byte{Register(1)}, d.execute); return err },
		"the end of all op-numbers": func(d *desk) error {
			_, err := d.Apply(math.MaxUint64, [][]byte{Register(1), Register(1)}, d.execute)
			return err
		},
		"too few answers": func(d *desk) error {
			_, err := d.Apply(2, [][]byte{ask(1, 1, "a")}, func(uint64, [][]byte) [][]byte { return nil })
			return err
		},
	} {
		d := newDesk(t, Options{})
		require.ErrorIs(t, broken(d), ErrInvariant, name)
		_, err := d.Apply(5, [][]byte{Register(1)}, d.execute)
		require.ErrorIs(t, err, ErrInvariant, "%s: it stays stopped", name)
	}
	d := newDesk(t, Options{})
	results, err := d.Apply(0, nil, d.execute)
	require.NoError(t, err)
	require.Empty(t, results)
}

func TestOptionsAreValidated(t *testing.T) {
	require.NoError(t, Options{}.Validate())
	require.NoError(t, Options{SessionReplyBytesMax: 1 << 30}.Validate())
	for says, o := range map[string]Options{
		"SessionsMax is -1":          {SessionsMax: -1},
		"SessionsMax is 1048577":     {SessionsMax: SessionsLimit + 1},
		"WindowMax is 1025":          {WindowMax: 1025},
		"SessionReplyBytesMax is 10": {SessionReplyBytesMax: 10, ReplyBytesMax: 9},
		"ReplyBytesMax is -5":        {ReplyBytesMax: -5},
		"not 1 to 1073741824":        {SessionReplyBytesMax: 1<<30 + 1},
	} {
		require.ErrorIs(t, o.Validate(), ErrOptions, says)
		require.ErrorContains(t, o.Validate(), says)
	}
}

// TestFormatOne holds the bytes of version 1; docs/FORMATS.md has the same.
func TestFormatOne(t *testing.T) {
	require.Equal(t, "0101"+"0700000000000000", hex.EncodeToString(Register(7)))
	require.Equal(t, "0102"+"0100000000000000"+"0700000000000000"+"0300000000000000"+"0200000000000000"+"616263", hex.EncodeToString(ask(3, 2, "abc")))
	d := newDesk(t, Options{SessionReplyBytesMax: 23, ReplyBytesMax: 40})
	answers, err := d.Apply(2, [][]byte{
		ask(2, 2, "abcd"), ask(3, 2, "abc"), ask(2, 2, "abcd"), ask(1, 1, ""), ask(66, 2, ""), Register(8),
		Request{Session: 9}.Encode(), ask(9, 2, ""),
	}, d.execute)
	require.NoError(t, err)
	for i, want := range []string{
		"0102" + "0200000000000000" + "41424344", "0102" + "0300000000000000" + "414243", "0103" + "0200000000000000",
		"0105" + "0200000000000000", "0106" + "0200000000000000", "0101" + "0700000000000000" + "40000000", "0107",
		"0102" + "0900000000000000",
	} {
		require.Equal(t, want, hex.EncodeToString(answers[i]))
	}
	require.Equal(t, "0104", hex.EncodeToString(plain(StatusSessionDropped)))
	require.Equal(t, strings.Join([]string{
		"7669657773657373", "01000000", "10270000", "40000000", "1700000000000000", "2800000000000000", "0900000000000000", "02000000",
		"0700000000000000", "0800000000000000", "0700000000000000", "0100000000000000", "00000000",
		"0100000000000000", "0700000000000000", "0900000000000000", "0200000000000000", "03000000",
		"00000000", "0200000000000000", "ffffffff",
		"01000000", "0300000000000000", "03000000", "414243",
		"07000000", "0900000000000000", "00000000",
		"bbb958c7",
	}, ""), hex.EncodeToString(frozenBytes(d.Freeze())))
}

func TestRestoreRefuses(t *testing.T) {
	d := newDesk(t, Options{SessionReplyBytesMax: 100})
	d.batch(Register(8), ask(1, 1, "first"), ask(3, 1, "third"))
	good := frozenBytes(d.Freeze())
	restore := func(data []byte, options Options) error {
		_, err := Restore(options, bufio.NewReader(bytes.NewReader(data)))
		return err
	}
	require.NoError(t, restore(good, d.options))
	for length := range good {
		require.ErrorIs(t, restore(good[:length], d.options), ErrCheckpoint, "cut at %d", length)
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			err := restore(bad, d.options)
			if i >= 12 && i < 36 {
				require.ErrorIs(t, err, ErrOtherOptions, "byte %d", i)
			} else {
				require.ErrorIs(t, err, ErrCheckpoint, "byte %d", i)
			}
		}
	}
	for name, options := range map[string]Options{
		"SessionsMax": {SessionsMax: 5, SessionReplyBytesMax: 100}, "WindowMax": {WindowMax: 5, SessionReplyBytesMax: 100},
		"SessionReplyBytesMax": {}, "ReplyBytesMax": {SessionReplyBytesMax: 100, ReplyBytesMax: 100},
	} {
		err := restore(good, options)
		require.ErrorIs(t, err, ErrOtherOptions, name)
		require.ErrorContains(t, err, name)
	}
}
