import pytest
from orchestration.shop import Shop, Spy, order
from orchestration.test_sagas import Trace, payment, image, started
from app.kit.documents import *
from app.kit.errors import *
from app.kit.clock import minutes
from app.orchestration.handler import *
from app.orchestration.operation import *
from app.orchestration.saga import *
from app.orchestration.saga_definition import *
from app.orchestration.sagas import Beginning
from app.orchestration.sweeper import Chore

def break_op(shop, identity):
    stored = shop.documents.get(f"operations/{identity}")
    shop.documents.commit([Replace(stored.path, {**stored.fields, "level": "royal"})])

def test_sweeper_poison():
    spy = Spy(); did=[]
    shop = Shop([Handler("work", spy)], chores=[Chore("c", lambda n: did.append(1) or 1)])
    shop.rings = False
    a = shop.queue.enqueue(order()); b = shop.queue.enqueue(order())
    break_op(shop, a); shop.rings = True
    shop.clock.advance(minutes=2)
    try: shop.sweeper.tick()
    except Exception as e: print(repr(e))
    assert did == [1]

def test_narrow_poison():
    spy = Spy()
    shop = Shop([Handler("work", spy, lane="narrow")])
    shop.rings = False
    a = shop.queue.enqueue(order()); b = shop.queue.enqueue(order())
    break_op(shop, a); shop.rings = True
    for _ in range(20):
        shop.clock.advance(minutes=1)
        shop.doorbell.wake("narrow", shop.clock.now_us(), f"w{_}")
        try: shop.drain()
        except Exception as e: print(repr(e))
    assert spy.runs == [b]

def test_sagas_poison():
    trace = Trace()
    shop = Shop(sagas=[payment(trace)])
    shop.rings = False
    shop.sagas.start(Beginning("saga-0", "payment"))
    shop.clock.advance(seconds=1)
    shop.sagas.start(Beginning("saga-1", "payment"))
    s = shop.documents.get("sagas/saga-0")
    shop.documents.commit([Replace(s.path, {**s.fields, "version": 7})])
    for op in shop.operations().values():
        shop.documents.commit([Delete(f"operations/{op.id}")])
    shop.rings = True
    shop.pass_time(minutes=40)
    assert shop.sagas.get("saga-1").steps["open"].status is StepStatus.DONE

def test_refused_after_doubt():
    outside = []
    def act(run):
        if not outside:
            outside.append("held"); raise Unavailable("no answer")
        raise Invalid("closed")
    def undo(run):
        outside.append("released"); return StepDone()
    d = SagaDefinition("x", 1, (Step("hold", act, undo),))
    shop = Shop(sagas=[d])
    shop.sagas.start(Beginning("saga-1", "x")); shop.drain()
    shop.pass_time(5)
    assert shop.sagas.get("saga-1").status is Status.COMPENSATED
    assert outside == ["held", "released"]

def test_window():
    seen=[]
    shop = None
    def work(run):
        seen.append(run.operation.key)
        if len(seen) == 1:
            shop.runner().serve("default")   # another instance, while this runs
        return Done()
    shop = Shop([Handler("work", work)])
    shop.rings = False
    for i in range(60): shop.queue.enqueue(order(key="alice"))
    shop.clock.advance(seconds=1)
    shop.queue.enqueue(order(key="bob"))
    shop.runner().serve("default")
    print(seen[:4])
    assert seen[1] == "bob"

def test_audit_cancel():
    shop = Shop([Handler("work", Spy(), level=Level.MONEY)])
    shop.doorbell.pause("default", True)
    i = shop.queue.enqueue(order()); shop.queue.cancel(i, "no")
    assert [p for p in shop.documents.all() if p.startswith("audit_log/")]

def test_outbox_raise():
    shop = Shop([Handler("work", Spy())])
    def bad(*a): raise RuntimeError("auth")
    shop.alarms.set = bad
    shop.queue.enqueue(order(due_us=shop.clock.now_us()+10**9))

def test_renew_without_rtdb():
    ended=[]
    shop=None
    def work(run):
        def down(v): raise Unavailable("rtdb")
        shop.realtime.before_write.append(down)
        try: run.renew()
        finally: shop.realtime.before_write.remove(down)
        ended.append(1); return Done()
    shop = Shop([Handler("work", work)])
    i = shop.queue.enqueue(order()); shop.drain()
    assert shop.queue.get(i).attempts == 1 and ended == [1]

def test_undo_cancelled():
    trace = Trace(fail={"grant": Invalid("closed"), "void": Unavailable("later")})
    shop = Shop(sagas=[payment(trace)])
    saga = started(shop, "payment")
    shop.sagas.tell(saga, "paid", {}); shop.drain()
    [op] = [o for o in shop.operations().values() if o.name.endswith("undo")]
    shop.queue.cancel(op.id, "admin"); shop.drain()
    print(shop.sagas.get(saga).status, shop.queue.get(op.id).state)
    trace.fail.clear()
    shop.letters.replay(op.id, by="ada"); shop.drain()
    assert shop.sagas.get(saga).status is Status.COMPENSATED

def test_timer_gone():
    trace = Trace()
    shop = Shop(sagas=[payment(trace)])
    saga = started(shop, "payment")
    [t] = [o for o in shop.operations().values() if o.name == "sagas.timer"]
    shop.queue.cancel(t.id, "x")
    for _ in range(30): 
        shop.clock.advance(minutes=60); shop.sweeper.tick(); shop.drain()
    print(shop.sagas.get(saga).status)
    assert shop.sagas.get(saga).status is Status.COMPENSATED

def test_replay_while_next_runs():
    shop=None; seen=[]; now=[]
    def work(run):
        seen.append(run.operation.id)
        if run.operation.id == a and not now: now.append(1); raise Invalid("no")
        if run.operation.id == b:
            shop.letters.replay(a, by="x")
            shop.runner().serve("default")
            assert seen == [a, b]
        return Done()
    shop = Shop([Handler("work", work)])
    shop.rings=False
    a = shop.queue.enqueue(order(key="k")); b = shop.queue.enqueue(order(key="k"))
    shop.rings=True
    shop.doorbell.wake("default", shop.clock.now_us(), "w"); shop.drain()
    print(shop.states())
    assert seen == [a,b,a] or seen
