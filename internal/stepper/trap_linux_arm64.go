package stepper

// trap is BRK #0, the breakpoint instruction.
var trap = []byte{0x00, 0x00, 0x20, 0xd4}
