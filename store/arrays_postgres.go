package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

// Every statement of the engine is sent a column of all its rows as one array. The
// driver would have it as a slice of Go, look at each item by reflection, and grow
// its buffers a quarter at a time: that was a third of what a worker allocates. So
// arrays are written here as PostgreSQL reads them (array_recv of its source), and
// the driver is told how much room they need.

// array is an array argument in binary form.
type array struct {
	binary []byte
	// room is how much is asked for before this one is written: what all arrays of
	// its statement need, on the first of them.
	room int
}

// appendArray appends the head of an array with one dimension of n items. Items follow,
// each as its length and its bytes.
func appendArray(dst []byte, item uint32, n int) []byte {
	if n == 0 {
		dst = binary.BigEndian.AppendUint32(dst, 0) // dimensions
		dst = binary.BigEndian.AppendUint32(dst, 0) // no NULL among the items
		return binary.BigEndian.AppendUint32(dst, item)
	}
	dst = binary.BigEndian.AppendUint32(dst, 1)
	dst = binary.BigEndian.AppendUint32(dst, 1) // maybe NULL: the server looks for itself
	dst = binary.BigEndian.AppendUint32(dst, item)
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	return binary.BigEndian.AppendUint32(dst, 1) // the index of the first item
}

func putNull(dst []byte) []byte { return binary.BigEndian.AppendUint32(dst, ^uint32(0)) }

func putText[T ~string](dst []byte, v T) []byte {
	s := keepable(string(v))
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// putJSON sends JSON as text: the server checks it while casting.
func putJSON(dst []byte, raw json.RawMessage) []byte {
	if raw == nil {
		return putNull(dst)
	}
	s := keepableJSON(raw)
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

func putInt32(dst []byte, v int32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, 4), uint32(v))
}

func putInt64(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(dst, 8), uint64(v))
}

func putBool(dst []byte, v bool) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 1)
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// epoch is where PostgreSQL counts microseconds from.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func putTime(dst []byte, v time.Time) []byte { return putInt64(dst, v.UnixMicro()-epoch) }

func orNull[V any](put func([]byte, V) []byte) func([]byte, *V) []byte {
	return func(dst []byte, v *V) []byte {
		if v == nil {
			return putNull(dst)
		}
		return put(dst, *v)
	}
}

// items are the types of items, with their object identifiers.
var items = map[string]uint32{
	"text": pgtype.TextOID, "int": pgtype.Int4OID, "bigint": pgtype.Int8OID, "bool": pgtype.BoolOID, "timestamptz": pgtype.TimestamptzOID,
}

// itemOf gives what appends an item of type typ from values of type V.
func itemOf[V any](typ string) func([]byte, V) []byte {
	puts := map[string][]any{
		"text":        {putText[string], orNull(putText[string])},
		"int":         {putInt32},
		"bigint":      {putInt64},
		"bool":        {putBool},
		"timestamptz": {putTime, orNull(putTime)},
	}
	for _, p := range puts[typ] {
		if put, ok := p.(func([]byte, V) []byte); ok {
			return put
		}
	}
	panic(fmt.Sprintf("store: no items of type %s are made of %T", typ, *new(V)))
}

// arrayCodec lets a connection take array as an argument, beside what it takes anyway.
type arrayCodec struct{ *pgtype.ArrayCodec }

func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(*array); ok && format == pgtype.BinaryFormatCode {
		return arrayPlan{}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

type arrayPlan struct{}

func (arrayPlan) Encode(value any, buf []byte) ([]byte, error) {
	a, ok := value.(*array)
	if !ok {
		return nil, fmt.Errorf("store: %T is not an array", value)
	}
	return append(slices.Grow(buf, max(a.room, len(a.binary))), a.binary...), nil
}

// registerArrays teaches a connection's types to take array.
func registerArrays(m *pgtype.Map) {
	for _, item := range items {
		t, ok := m.TypeForOID(item)
		if !ok {
			panic(fmt.Sprintf("store: the driver does not know type %d", item))
		}
		of, ok := m.TypeForName("_" + t.Name)
		if !ok {
			panic("store: the driver does not know arrays of " + t.Name)
		}
		m.RegisterType(&pgtype.Type{Name: of.Name, OID: of.OID, Codec: arrayCodec{&pgtype.ArrayCodec{ElementType: t}}})
	}
}

// room is no message: to send it makes room for those that follow. Without it the
// driver begins anew with a kilobyte whenever it has sent something.
type room int

func (room) Frontend()             {}
func (room) Decode(_ []byte) error { return nil }

func (r room) Encode(dst []byte) ([]byte, error) { return slices.Grow(dst, int(r)), nil }

var _ pgproto3.FrontendMessage = room(0)
