package logring

import (
	"fmt"
	"math"
	"reflect"
	"time"
	"unsafe"
)

// An op is how an argument is read from memory.
type op uint8

const (
	opWord op = iota // 8 bytes as they are
	opString
	opInt8
	opInt16
	opInt32
	opUint8 // also bool
	opUint16
	opUint32
	opFloat32
	opBytes
	opTime
	opErr
)

var (
	timeType     = reflect.TypeFor[time.Time]()
	errType      = reflect.TypeFor[Err]()
	durationType = reflect.TypeFor[time.Duration]()
)

// opOf returns how a type is read, and its kind in wire form.
func opOf(t reflect.Type) (op, byte) {
	switch t {
	case timeType:
		return opTime, kindTime
	case errType:
		return opErr, kindString
	case durationType:
		return opWord, kindDuration
	}
	bySize := func(ops ...op) op { return ops[min(len(ops)-1, [9]int{1: 0, 2: 1, 4: 2, 8: 3}[t.Size()])] }
	switch t.Kind() {
	case reflect.String:
		return opString, kindString
	case reflect.Slice:
		return opBytes, kindString
	case reflect.Bool:
		return opUint8, kindBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return bySize(opInt8, opInt16, opInt32, opWord), kindInt64
	case reflect.Float32:
		return opFloat32, kindFloat64
	case reflect.Float64:
		return opWord, kindFloat64
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return bySize(opUint8, opUint16, opUint32, opWord), kindUint64
	}
	panic(fmt.Sprintf("logring: an event cannot take a %v", t)) // the constraint Arg lets none pass
}

// A slot is an argument taken apart: 8 bytes, or the length of bytes and where
// they are. What p points to lives as long as the call.
type slot struct {
	w   uint64
	p   unsafe.Pointer
	ext uint64 // the second half of a time
}

// bytes returns what p points to.
func (s *slot) bytes() []byte { return unsafe.Slice((*byte)(s.p), int(s.w)) }

// rare loads what load leaves to it.
func (o op) rare(p unsafe.Pointer) slot {
	switch o {
	case opInt8:
		return slot{w: uint64(*(*int8)(p))}
	case opInt16:
		return slot{w: uint64(*(*int16)(p))}
	case opInt32:
		return slot{w: uint64(*(*int32)(p))}
	case opUint8:
		return slot{w: uint64(*(*uint8)(p))}
	case opUint16:
		return slot{w: uint64(*(*uint16)(p))}
	case opUint32:
		return slot{w: uint64(*(*uint32)(p))}
	case opFloat32:
		return slot{w: math.Float64bits(float64(*(*float32)(p)))}
	case opBytes:
		b := *(*[]byte)(p)
		return slot{w: uint64(len(b)), p: unsafe.Pointer(unsafe.SliceData(b))}
	case opErr:
		s := (*(*Err)(p)).text()
		return slot{w: uint64(len(s)), p: unsafe.Pointer(unsafe.StringData(s))}
	}
	t := *(*time.Time)(p)
	s, ns, zone := timeFields(t)
	return slot{w: s, ext: uint64(ns) | uint64(uint32(zone))<<32}
}

// load takes the argument at p apart: the common ones here, so that it is inlined.
func (o op) load(p unsafe.Pointer) slot {
	if o == opWord {
		return slot{w: *(*uint64)(p)}
	}
	if o == opString {
		s := *(*string)(p)
		return slot{w: uint64(len(s)), p: unsafe.Pointer(unsafe.StringData(s))}
	}
	return o.rare(p)
}

// putWord stores a word of an event, little-endian: one MOV. There has to be room.
func putWord(at unsafe.Pointer, v uint64) { le.PutUint64((*[8]byte)(at)[:], v) }
