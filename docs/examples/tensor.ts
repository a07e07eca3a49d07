import { assign, grad, hostRuntime, linear, mean, scale, square, sub } from "@graftml/tensor";

const runtime = hostRuntime(); // float64, no GPU; on one: deviceRuntime(await requestDevice())
const store = runtime.store();
store.declare("w", { shape: [1, 2], dtype: "f32", values: () => [0, 0] });

const step = await runtime.compile(store, (trace) => {
  const [x, y] = [trace.input("x", [4, 2]), trace.input("y", [4, 1])];
  const w = trace.param("w", [1, 2]);
  const loss = mean(square(sub(linear(x, w), y)));
  const [dw] = grad(loss, [w]);
  return { loss, w: assign(w, sub(w, scale(dw ?? w, 0.5))) };
});

const batch = { x: [1, 0, 0, 1, 1, 1, 1, -1], y: [2, 3, 5, -1] }; // y = 2x₀ + 3x₁
for (let i = 0; i < 20; i++) console.log((await step.run(batch))["loss"]?.[0]);
console.log(await store.read("w"), step.memory);
