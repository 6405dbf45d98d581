"use strict";
// Shows decoded examples step by step, side by side. The page holds all there is: JSON in #data. Nothing is loaded, and what comes from
// data becomes text, never markup. `report/explorer.py` writes the data and says what they are.
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const state = { panels: data.shown, facets: data.facets.map((facet) => facet.start), step: 0, place: null, fixed: false };
  let peeked = null; // the step under a pointer, shown until it leaves
  let touched = 0; // when somebody last did something
  const arms = []; // of each panel: its elements and its view

  const element = (tag, text = "", name = "") => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (name) made.className = name;
    return made;
  };
  const clamp = (value, last) => Math.max(0, Math.min(last, value));
  const token = (index) => data.tokens[index];
  const quoted = (index) => `‘\u2068${token(index)}\u2069’`; // isolated: a token of another direction turns nothing else
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const number = (value) => (value < 0.995 || value > 10 ? value.toPrecision(2) : value.toFixed(2));

  // From white to dark blue, and on each shade the ink, black or white, whose contrast is at least 4.5 : 1.
  const STOPS = [[255, 255, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]];
  const rgb = (share) => {
    const at = clamp(share, 1) * (STOPS.length - 1), low = Math.min(Math.floor(at), STOPS.length - 2);
    return STOPS[low].map((channel, i) => Math.round(channel + (at - low) * (STOPS[low + 1][i] - channel)));
  };
  const luminance = (colour) => {
    const linear = colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const shade = (item, share) => {
    const colour = rgb(share);
    item.style.backgroundColor = `rgb(${colour})`;
    item.style.color = luminance(colour) > 0.179 ? "#000" : "#fff";
    item.style.setProperty("--share", clamp(share, 1));
  };

  // --- views

  const unpacked = (row) => {
    const [panel, facets, source, output, target, weights, peak, entropy, norm, likely, shares, note, image, columns] = row;
    const S = source.length, T = output.length, packed = weights === null ? null : bytes(weights), parts = bytes(shares);
    const K = T ? likely.length / T : 0;
    const weight = (t, s) => (packed[t * S + s] * peak) / 255;
    const predicted = (t) => likely.slice(t * K, t * K + K).map((index, k) => [index, parts[t * K + k] / 255]);
    const top = packed ? packed.reduce((a, b) => Math.max(a, b), 0) * peak / 255 || 1 : 1;
    return { panel, facets, source, output, target, looks: packed !== null, weight, predicted, top, entropy, norm, note, image, columns, S, T };
  };

  // The view of a panel for the chosen facets. Where there is none, the nearest along facets that are loose, as of budgets.
  const nearest = (panel) => {
    let best = null, least = Infinity;
    for (const row of data.views) {
      if (row[0] !== panel) continue;
      let off = 0;
      row[1].forEach((value, i) => {
        const away = Math.abs(value - state.facets[i]);
        off += away && !data.facets[i].loose ? 1e6 : away + (value > state.facets[i] ? 1e3 : 0);
      });
      if (off < least) [best, least] = [row, off];
    }
    return best !== null && least < 1e6 ? unpacked(best) : null;
  };

  // --- a panel

  const list = (arm, side, tokens) => {
    const items = tokens.map((index, i) => {
      const item = element("li");
      item.append(element("bdi", token(index)));
      item.id = `${arm.name}-${side}-${i}`;
      item.setAttribute("role", "option");
      return item;
    });
    arm[side].replaceChildren(...items);
    return items;
  };

  const draw_map = (arm) => {
    const { view, canvas } = arm;
    arm.map.hidden = !view || !view.looks || !view.T || view.image !== null;
    if (arm.map.hidden) return;
    [canvas.width, canvas.height] = [view.S, view.T];
    arm.map.style.setProperty("--width", `${view.S * Math.min(28, Math.max(4, 600 / Math.max(view.S, view.T)))}px`);
    const image = new ImageData(view.S, view.T), scale = state.fixed ? Math.max(1, data.peak) : view.top;
    for (let t = 0; t < view.T; t++) {
      for (let s = 0; s < view.S; s++) image.data.set([...rgb(view.weight(t, s) / scale), 255], 4 * (t * view.S + s));
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    canvas.setAttribute("aria-label", `Weights of ${view.T} outputs, from top to bottom, on ${view.S} inputs. The table below has them.`);
  };

  // What a panel shows where that may differ from what was chosen, as its budget.
  const about = (view) => {
    const loose = view.facets.map((value, i) => {
      const { name, values } = data.facets[i], other = value === state.facets[i] ? "" : ` (there is none at ${values[state.facets[i]]})`;
      return data.facets[i].loose ? `${name} ${values[value]}${other}` : "";
    });
    return [...loose, view.note].filter(Boolean).join("; ");
  };

  const fill = (arm) => {
    const view = (arm.view = nearest(state.panels[arm.number]));
    arm.body.hidden = !view || !view.T;
    arm.about.textContent = view === null ? "No example of this was kept." : about(view);
    draw_map(arm);
    if (arm.body.hidden) return;
    arm.outputs = list(arm, "output", view.output);
    arm.inputs = list(arm, "input", view.source);
    arm.input.style.setProperty("--columns", view.columns || "none");
    arm.input.classList.toggle("field", view.columns > 0);
    arm.input.classList.toggle("pictured", view.image !== null);
    arm.input.style.backgroundImage = view.image === null ? "" : `url("data:image/png;base64,${view.image}")`;
    arm.none.hidden = view.looks;
    view.output.forEach((index, t) => arm.outputs[t].classList.toggle("wrong", view.target !== null && view.target[t] !== index));
    for (const [name, values] of [["entropy", view.entropy], ["norm", view.norm]]) line(arm[name].querySelector("svg"), values);
    if (arm.all.open) table(arm);
  };

  // A line over all steps in a box of 100 x 20.
  const across = (t, count) => (count > 1 ? (100 * t) / (count - 1) : 50);
  const line = (svg, values) => {
    const most = Math.max(...values, 1e-9), points = values.map((value, t) => `${across(t, values.length)},${19 - (18 * value) / most}`);
    svg.querySelector("polyline").setAttribute("points", points.join(" "));
  };

  const show_value = (arm, name, values, t, text) => {
    arm[name].hidden = !values.length;
    if (!values.length) return;
    arm[name].querySelector("output").textContent = text;
    arm[name].querySelector("line").setAttribute("transform", `translate(${across(t, values.length)})`);
  };

  const most_attended = (view, t) => {
    const order = view.source.map((_, s) => s).sort((a, b) => view.weight(t, b) - view.weight(t, a));
    const seen = order.slice(0, 3).filter((s) => view.weight(t, s) > 0.005);
    return seen.map((s) => `${quoted(view.source[s])} (input ${s + 1}) ${number(view.weight(t, s))}`);
  };

  const mark_steps = (arm, t) => {
    const { view } = arm, s = state.place === null ? null : clamp(state.place, view.S - 1);
    const scale = state.fixed ? Math.max(1, data.peak) : view.top;
    arm.outputs.forEach((item, i) => {
      item.setAttribute("aria-selected", i === t);
      shade(item, view.looks && s !== null ? view.weight(i, s) / scale : 0);
    });
    arm.inputs.forEach((item, i) => {
      item.setAttribute("aria-selected", i === s);
      shade(item, view.looks ? view.weight(t, i) / scale : 0);
      if (view.looks) item.setAttribute("aria-label", `${token(view.source[i])}, weight ${number(view.weight(t, i))}`);
    });
    arm.output.setAttribute("aria-activedescendant", `${arm.name}-output-${t}`);
    arm.input.setAttribute("aria-activedescendant", `${arm.name}-input-${s ?? 0}`);
    arm.row.style.setProperty("--at", t / view.T);
    arm.row.style.setProperty("--part", 1 / view.T);
    arm.column.hidden = s === null;
    arm.column.style.setProperty("--at", (s ?? 0) / view.S);
    arm.column.style.setProperty("--part", 1 / view.S);
  };

  const show_arm = (arm) => {
    const { view } = arm;
    if (!view || !view.T) return "";
    const t = clamp(peeked ?? state.step, view.T - 1), s = state.place === null ? null : clamp(state.place, view.S - 1);
    mark_steps(arm, t);
    const wrong = view.target !== null && view.target[t] !== view.output[t];
    const should = wrong ? `; it should be ${t < view.target.length ? quoted(view.target[t]) : "nothing"}` : "";
    const said = [`Step ${t + 1} of ${view.T}: ${quoted(view.output[t])}${should}`];
    if (view.looks) {
      said.push(`Attends most to ${most_attended(view, t).join(", ") || "nothing"}`);
      const H = view.entropy[t];
      show_value(arm, "entropy", view.entropy, t, `${number(H)} nats, as of even weights on ${number(Math.exp(H))} inputs`);
      if (s !== null) {
        const column = view.output.map((_, i) => view.weight(i, s)), best = column.indexOf(Math.max(...column));
        const most = `most at step ${best + 1}: ${number(column[best])}`;
        said.push(`Input ${s + 1}, ${quoted(view.source[s])}, has ${number(column[t])} here, and ${most}`);
      }
    } else arm.entropy.hidden = true;
    show_value(arm, "norm", view.norm, t, number(view.norm[t] ?? 0));
    arm.facts.replaceChildren(...said.map((text) => element("p", `${text}.`)));
    const predicted = view.predicted(t);
    arm.likely.parentElement.hidden = !predicted.length;
    arm.likely.replaceChildren(...predicted.map(([index, share]) => {
      const item = element("li"), bar = element("span", "", "bar");
      bar.style.setProperty("--share", share);
      item.append(element("bdi", token(index)), bar, element("span", share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`, "percent"));
      return item;
    }));
    const predicts = predicted.length ? `, predicts ${quoted(predicted[0][0])} ${Math.round(100 * predicted[0][1])} percent` : "";
    return `${data.panels[state.panels[arm.number]]}. ${said.join(". ")}${predicts}.`;
  };

  // Every step of a view, for those who read tables and for print.
  const table = (arm) => {
    const { view } = arm, body = arm.all.querySelector("tbody");
    if (!view) return body.replaceChildren();
    body.replaceChildren(...view.output.map((index, t) => {
      const row = element("tr"), predicted = view.predicted(t).map(([i, share]) => `${quoted(i)} ${Math.round(100 * share)} %`);
      const head = element("th", `${t + 1}`);
      head.scope = "row";
      const cells = [quoted(index), view.target === null ? "" : t < view.target.length ? quoted(view.target[t]) : ""];
      cells.push(view.looks ? most_attended(view, t).join(", ") : "", view.entropy[t] ?? "", view.norm[t] ?? "", predicted.join(", "));
      row.append(head, ...cells.map((text) => element("td", `${text}`)));
      return row;
    }));
  };

  // --- all panels

  const most_steps = () => Math.max(1, ...arms.map((arm) => arm.view?.T ?? 0));
  let saying = 0;
  const show = (aloud = true) => {
    const steps = most_steps();
    const slider = byId("step"), t = clamp(peeked ?? state.step, steps - 1);
    slider.max = steps;
    slider.value = t + 1;
    slider.setAttribute("aria-valuetext", `${t + 1} of ${steps}`);
    byId("step-text").textContent = `${t + 1} of ${steps}`;
    const said = arms.map(show_arm).join(" ");
    clearTimeout(saying);
    if (aloud) saying = setTimeout(() => {
      byId("said").textContent = said;
      remember();
    }, 300);
  };
  const refill = () => {
    arms.forEach(fill);
    show();
  };
  const step_to = (t) => {
    touched = Date.now();
    peeked = null;
    state.step = clamp(t, most_steps() - 1);
    show();
  };
  const peek = (t) => {
    peeked = t;
    show(false);
  };

  const remember = () => {
    const kept = { p: state.panels, f: state.facets, t: [state.step], s: [Number(state.fixed)], e: [document.activeElement?.id ?? ""] };
    try {
      history.replaceState(null, "", `#${Object.entries(kept).map(([name, values]) => `${name}=${values}`).join("&")}`);
    } catch {} // a browser that wants no more of them
  };
  const recall = () => {
    const kept = new URLSearchParams(location.hash.slice(1));
    const whole = (name, count) => (kept.get(name) ?? "").split(",").slice(0, count).map(Number).map((n) => (Number.isInteger(n) ? n : 0));
    if (!kept.has("p")) return;
    state.panels = state.panels.map((panel, i) => clamp(whole("p", 2)[i] ?? panel, data.panels.length - 1));
    state.facets = state.facets.map((value, i) => clamp(whole("f", data.facets.length)[i] ?? value, data.facets[i].values.length - 1));
    state.step = Math.max(0, whole("t", 1)[0]);
    state.fixed = whole("s", 1)[0] === 1;
    setTimeout(() => byId(kept.get("e"))?.focus({ preventScroll: true }));
  };

  // --- controls

  const choice = (id, label, values, value, chosen) => {
    const select = element("select"), holder = element("label", `${label} `);
    select.id = id;
    values.forEach((text, i) => select.add(new Option(text, i, false, i === value)));
    select.addEventListener("change", () => {
      touched = Date.now();
      chosen(select.selectedIndex);
    });
    holder.append(select);
    return holder;
  };
  const button = (id, text, label, pressed) => {
    const made = element("button", text);
    [made.id, made.type, made.ariaLabel] = [id, "button", label];
    made.addEventListener("click", pressed);
    return made;
  };

  const choose_facet = (i, value) => {
    touched = Date.now();
    state.facets[i] = clamp(value, data.facets[i].values.length - 1);
    byId(`facet-${i}`).selectedIndex = state.facets[i];
    refill();
  };
  const make_choices = () => {
    const places = byId("choices");
    data.facets.forEach((facet, i) => {
      if (facet.values.length < 2) return;
      places.append(choice(`facet-${i}`, facet.name, facet.values, state.facets[i], (value) => choose_facet(i, value)));
      if (facet.values.length > 12) {
        places.append(button(`less-${i}`, "‹", `previous ${facet.name}`, () => choose_facet(i, state.facets[i] - 1)));
        places.append(button(`more-${i}`, "›", `next ${facet.name}`, () => choose_facet(i, state.facets[i] + 1)));
      }
    });
    const scales = ["0 to the largest weight here", "the same in every picture"];
    places.append(choice("scale", "shades", scales, Number(state.fixed), (value) => {
      state.fixed = value === 1;
      refill();
    }));
    byId("step").addEventListener("input", () => step_to(byId("step").value - 1));
    byId("back").addEventListener("click", () => step_to(state.step - 1));
    byId("on").addEventListener("click", () => step_to(state.step + 1));
    let playing = 0;
    byId("play").addEventListener("click", () => {
      const last = byId("step").max - 1;
      const stop = () => {
        clearInterval(playing);
        playing = 0;
        byId("play").textContent = "play";
      };
      if (playing) return stop();
      byId("play").textContent = "stop";
      if (state.step >= last) step_to(0);
      playing = setInterval(() => (state.step < last ? step_to(state.step + 1) : stop()), 700);
    });
    document.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select, input, [role=listbox]")) return;
      event.preventDefault();
      step_to(state.step + move);
    });
  };

  // A list of tokens is one stop of the tab key; arrow keys move in it. `chosen(i)` and `hovered(i or null)` say what that does.
  const follow = (holder, count, at, chosen, hovered) => {
    const place = (event) => [...holder.children].indexOf(event.target.closest("li"));
    holder.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: at() - 1, ArrowRight: at() + 1, ArrowUp: at() - 1, ArrowDown: at() + 1, Home: 0, End: count() - 1 };
      if (!(event.key in moves) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      chosen(clamp(moves[event.key], count() - 1));
    });
    holder.addEventListener("click", (event) => place(event) >= 0 && chosen(place(event)));
    holder.addEventListener("pointerover", (event) => event.pointerType === "mouse" && place(event) >= 0 && hovered(place(event)));
    holder.addEventListener("pointerleave", () => hovered(null));
    holder.addEventListener("focus", () => chosen(at()));
  };
  const place_at = (s) => {
    touched = Date.now();
    state.place = s;
    show();
  };

  const make_arm = (number) => {
    const root = byId("panel").content.firstElementChild.cloneNode(true);
    const part = (name) => root.querySelector(`.${name}`);
    const arm = { number, name: `arm${number}`, root, view: null };
    for (const name of ["body", "about", "map", "row", "column", "output", "input", "none", "facts", "entropy", "norm", "likely", "all"]) {
      arm[name] = part(name);
    }
    arm.canvas = root.querySelector("canvas");
    const heading = part("name");
    const choose = (value) => (state.panels[number] = value, refill());
    const several = data.panels.length > 1, label = number ? "beside" : "shown";
    heading.append(several ? choice(`arm-${number}`, label, data.panels, state.panels[number], choose) : data.panels[0]);
    for (const side of ["output", "input"]) arm[side].id = `${arm.name}-${side}`;
    follow(arm.output, () => arm.view.T, () => clamp(state.step, arm.view.T - 1), step_to, peek);
    follow(arm.input, () => arm.view.S, () => clamp(state.place ?? 0, arm.view.S - 1), place_at, (s) => {
      if (document.activeElement === arm.input) return;
      state.place = s;
      show(false);
    });
    arm.input.addEventListener("blur", () => place_at(null));
    const under = ({ offsetX, offsetY }) => [
      clamp(Math.floor((offsetY / arm.canvas.clientHeight) * arm.view.T), arm.view.T - 1),
      clamp(Math.floor((offsetX / arm.canvas.clientWidth) * arm.view.S), arm.view.S - 1),
    ];
    arm.canvas.addEventListener("pointermove", (event) => {
      [peeked, state.place] = under(event);
      show(false);
    });
    arm.canvas.addEventListener("pointerleave", () => {
      [peeked, state.place] = [null, null];
      show(false);
    });
    arm.canvas.addEventListener("click", (event) => step_to(under(event)[0]));
    arm.all.addEventListener("toggle", () => arm.all.open && table(arm));
    byId("arms").append(root);
    return arm;
  };

  recall();
  make_choices();
  state.panels.forEach((_, number) => arms.push(make_arm(number)));
  refill();
  addEventListener("beforeprint", () => arms.forEach((arm) => {
    arm.all.open = true;
    table(arm);
  }));
  if (byId("refresh")) { // the page of a run that still trains: it is read anew, unless somebody uses it just now
    setInterval(() => {
      if (!byId("refresh").checked || document.hidden || Date.now() - touched < 5000) return;
      remember();
      location.reload();
    }, 1000 * byId("refresh").value);
  }
}
