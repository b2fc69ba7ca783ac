//! A method as a value: the same case asks it of every adapter's model.
//!
//! A method that needs to know the layers is asked by its name, with settings as text, as the command does it.

use attr_core::methods::{
    Conductance, GradCam, Gradient, InputTimesGradient, IntegratedGradients, InternalInfluence, Method,
    Occlusion, SmoothGrad,
};
use attr_core::{Attribution, ModelWrapper, Qoi, Question, Result, Run, Slice, methods};
use ndarray::ArrayD;

use crate::Adapter;

/// One line for each method: its variant, and what it does on a model.
macro_rules! methods {
    ($($method:ident),* $(,)?) => {
        /// Any method of core with its parameters.
        #[derive(Debug, Clone)]
        pub enum AnyMethod {
            $(
                #[allow(missing_docs)]
                $method($method),
            )*
            /// A method by its name, and its parameters that are not as they are by default.
            Named(&'static str, Vec<(&'static str, String)>),
        }

        $(impl From<$method> for AnyMethod {
            fn from(method: $method) -> Self {
                AnyMethod::$method(method)
            }
        })*

        impl AnyMethod {
            /// The method as the model sees it.
            pub fn on<M: ModelWrapper>(&self, model: &M) -> Result<Box<dyn Method<M>>> {
                match self {
                    $(AnyMethod::$method(method) => Ok(Box::new(method.clone())),)*
                    AnyMethod::Named(name, settings) => {
                        let mut method = (methods::find(model, name)?.build)();
                        settings.iter().try_for_each(|(name, value)| method.set(name, value))?;
                        Ok(method)
                    }
                }
            }
        }
    };
}

methods!(
    Conductance,
    GradCam,
    Gradient,
    InputTimesGradient,
    IntegratedGradients,
    InternalInfluence,
    Occlusion,
    SmoothGrad,
);

/// What a case asks: of what slice, about what quantity, by what method.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The slice.
    pub slice: Slice,
    /// The quantity.
    pub quantity: Qoi,
    /// The method.
    pub method: AnyMethod,
}

impl Ask {
    /// By this method, of the inputs and the first class.
    pub fn by(method: impl Into<AnyMethod>) -> Self {
        Ask { slice: Slice::full(), quantity: Qoi::Class(0), method: method.into() }
    }

    /// By the method of this name, of the inputs and the first class.
    pub fn named(name: &'static str) -> Self {
        Ask::by(AnyMethod::Named(name, Vec::new()))
    }

    /// With a parameter of a method by its name.
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        let AnyMethod::Named(_, settings) = &mut self.method else {
            panic!("BUG: {name} is a field of {:?}", self.method);
        };
        settings.push((name, value.to_string()));
        self
    }

    /// Of another slice.
    pub fn at(mut self, slice: impl Into<Slice>) -> Self {
        self.slice = slice.into();
        self
    }

    /// About another quantity.
    pub fn of(mut self, quantity: Qoi) -> Self {
        self.quantity = quantity;
        self
    }

    /// The answer on a model.
    pub fn answer<M: ModelWrapper>(
        &self,
        adapter: &Adapter<M>,
        model: &M,
        inputs: &[ArrayD<f64>],
        run: Run<'_>,
    ) -> Result<Attribution<M::Tensor>> {
        let inputs = adapter.tensors(inputs)?;
        let question =
            Question::new(model, &inputs).at(self.slice.clone()).of(self.quantity.clone()).run(run);
        self.method.on(model)?.attribute(&question)
    }
}
