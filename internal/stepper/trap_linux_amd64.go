package stepper

// trap is INT3, the breakpoint instruction.
var trap = []byte{0xcc}
