package main

// hotPaths are benchmarks of one goroutine whose every operation does the same.
var hotPaths = []hotPath{}
