package sqlitedb_test

import (
	"fmt"
	"os"
	"path/filepath"

	"shmkit/adapters/sqlitedb"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "sqlitedb")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Chdir(dir)

	db, err := sqlitedb.Open("run.db")
	if err != nil {
		panic(err)
	}
	db.Exec("CREATE TABLE files(path TEXT, lines INTEGER)")
	db.Exec("INSERT INTO files VALUES (?, ?)", "a.go", 42)
	var lines int
	db.QueryRow("SELECT lines FROM files WHERE path = ?", "a.go").Scan(&lines)
	db.Close()
	left, _ := filepath.Glob("*")
	fmt.Println(lines, left)

	_, err = sqlitedb.Open("out/run.db")
	fmt.Println(err)
	// Output:
	// 42 [run.db]
	// sqlitedb: open "out/run.db": folder "out" does not exist: create it first
}
