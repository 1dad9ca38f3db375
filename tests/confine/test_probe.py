def test_it(stage):
    c = stage.check()
    print(c.code, c.err)
    for a in c.report["attempts"]:
        print(a)
    print(stage.counts())
    assert 0
