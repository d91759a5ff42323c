module shmkit/bench

go 1.26.0

require (
	shmkit v0.0.0
	shmkit/adapters v0.0.0
)

require (
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/rs/zerolog v1.35.1 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace (
	shmkit => ..
	shmkit/adapters => ../adapters
)
